"""A snapshot's answers become unique responses, pairs and votes, and nothing is counted twice or tokenised twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workers.reward.snapshots import answer, write
from workers.reward import data
from workers.reward.data import Codec, Preferences
from workers.reward.loss import expand

EOS = 2
# A tokenizer of letters: "a" is 97, and a prompt is its text.
CODEC = Codec(
    encode=lambda messages, text: ([ord(c) for c in messages[-1]["content"]], [*map(ord, text), EOS]),
    decode=lambda ids: "".join(chr(i) for i in ids if i != EOS),
    eos=EOS,
)
FILL = [answer(f"fill {i}", "x", "y") for i in range(8)]


def read(*rows: dict[str, Any], max_tokens: int = 100) -> Preferences:
    return data.from_table([*rows, *FILL], CODEC, max_tokens)


def test_a_response_in_several_pairs_appears_once() -> None:
    found = read(answer("p", "one", "two"), answer("p", "two", "three"), answer("p", "one", "three"))
    assert len(found.rows) == 3 + 16
    assert len(found.first) == 3 + 8


def test_a_pair_stored_the_other_way_round_is_the_same_pair() -> None:
    found = read(answer("p", "one", "two"), answer("p", "two", "one"), answer("p", "one", "two", "tie"))
    assert found.answers.pair[:3].tolist() == [0, 0, 0]
    assert found.answers.sign[:3].tolist() == [1, -1, 0]


def test_skips_say_nothing_and_both_bad_is_a_tie() -> None:
    found = read(
        answer("p", "one", "two", "both_bad"),
        answer("p", "one", "two", "skipped"),
        answer("p", "one", "two", "cannot_judge"),
        answer("p", "one", "two", preferred="b"),
    )
    assert found.answers.sign.tolist() == [0, -1, *[1] * 8]


def test_stored_token_ids_are_used_as_they_are() -> None:
    sampled = answer("p", "hi", "two", prompt_token_ids=[1, 2, 3], tokens_a=[104, 105], tokens_b=None)
    found = read(sampled)
    # Without the end token: it was cut off by the limit, and nobody adds one. Text that was not sampled is encoded.
    assert found.rows[0] == ([1, 2, 3], [104, 105])
    assert found.rows[1] == ([112], [*map(ord, "two"), EOS])


def test_ids_of_another_base_model_are_replaced() -> None:
    foreign = answer("p", "hi", "two", prompt_token_ids=[1, 2, 3], tokens_a=[120, 121], tokens_b=[*map(ord, "two")])
    assert read(foreign).rows[0] == ([112], [104, 105, EOS])


def test_an_empty_response_has_its_end_to_pool() -> None:
    empty = answer("p", "", "two", prompt_token_ids=[1], tokens_a=[], tokens_b=[*map(ord, "two")])
    assert read(empty).rows[0] == ([1], [EOS])


def test_a_long_row_loses_the_beginning_of_its_prompt() -> None:
    long = answer("abcdef", "xyz", "two")
    assert read(long, max_tokens=6).rows[0] == ([ord("e"), ord("f")], [*map(ord, "xyz"), EOS])
    assert read(long, max_tokens=3).rows[0] == ([ord("f")], [ord("x"), ord("y")])


def test_levels_are_the_strengths_that_were_given() -> None:
    assert read().levels == 1
    assert read(answer("p", "one", "two", strength=2)).levels == 2
    found = read(answer("p", "one", "two", strength=2), answer("p", "one", "two", preferred="b", strength=1))
    # Cut points -eta2 -eta1 eta1 eta2 are 1 to 4: better by 2 is (4, inf), worse by 1 is (-eta2, -eta1).
    outcomes = found.outcomes(np.arange(10) < 2)
    assert (outcomes.low.tolist(), outcomes.high.tolist()) == ([4, 1], [5, 2])


def test_too_few_answers_get_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"holds 7 answers that prefer one of two responses; .* at least 8"):
        data.from_table([*FILL[:7], answer("p", "one", "two", "tie")], CODEC, 100)


def test_a_prompt_is_never_split_over_folds() -> None:
    prompt = np.array([0, 1, 0, 2, 3, 2, 1])
    found = data.folds(prompt, 3)
    for one in range(4):
        assert len(set(found[prompt == one])) == 1
    assert sorted(set(found)) == [0, 1, 2]
    assert sorted(set(data.folds(np.array([4, 9]), 5))) == [0, 1]
    with pytest.raises(ValueError, match="All the answers are about one prompt"):
        data.folds(np.array([3, 3]), 5)


def test_it_reads_a_snapshot_and_checks_its_hash(tmp_path: Path) -> None:
    url = (tmp_path / "snapshot").as_uri()
    sha256 = write(url, [*FILL, answer("p", "one", "two", "tie", prompt_token_ids=[7], tokens_a=[111, 110, 101])])
    found = data.from_table(data.read_table(url + "/", sha256), CODEC, 100)
    assert len(found.rows) == 18
    assert found.rows[16] == ([7], [111, 110, 101])
    (tmp_path / "snapshot" / "answers.parquet").write_bytes(b"PAR1")
    with pytest.raises(Exception, match="SHA-256"):
        data.read_table(url, sha256)


def test_two_votes_against_one_are_a_soft_label_of_two_thirds() -> None:
    found = read(answer("p", "one", "two"), answer("p", "one", "two"), answer("p", "two", "one"))
    votes = found.outcomes(found.answers.pair == 0)
    assert (votes.pair.tolist(), votes.weight.tolist()) == ([0, 0, 0], [1.0, 1.0, 1.0])
    # Without ties the likelihood 2 log sigmoid(d) + log sigmoid(-d) is flat where sigmoid(d) = 2/3, at d = ln 2.
    at = expand(np.array([np.log(2.0)]), np.array([0.0]), votes)
    assert at.by_delta.tolist() == pytest.approx([0.0], abs=1e-12)


def test_an_annotators_weight_is_on_all_of_their_answers_and_on_no_other() -> None:
    found = read(answer("p", "one", "two", annotator="bob"), answer("p", "one", "two", "tie", annotator=None))
    weighed = found.weighed({"bob": 0.4}).weighed({"bob": 0.5, "carol": 0.1})
    assert weighed.outcomes(np.ones(10, bool)).weight.tolist() == pytest.approx([0.2, 1.0, *[1.0] * 8])
    assert found.answers.weight.tolist() == [1.0] * 10


def test_it_knows_what_was_asked_again_and_what_nobody_said() -> None:
    found = read(
        answer("p", "one", "two", comparison="7"),
        answer("p", "one", "two", comparison="9", purpose="repeat"),
        answer("p", "one", "two", simulated=True),
    )
    assert found.answers.comparison[:2] == ["7", "9"]
    assert found.answers.again.tolist() == [False, True, *[False] * 9]
    assert found.answers.simulated.tolist() == [False, False, True, *[False] * 8]


def test_what_was_asked_again_does_not_make_up_for_too_few_answers() -> None:
    with pytest.raises(ValueError, match="holds 7 answers that prefer"):
        data.from_table([*FILL[:7], answer("p", "one", "two", purpose="repeat")], CODEC, 100)
