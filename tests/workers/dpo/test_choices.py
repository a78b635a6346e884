"""Of a snapshot's answers those that prefer one response teach, except those about held-out prompts, which judge."""

from typing import Any

import numpy as np
import pytest

from tests.workers.reward.snapshots import answer
from workers.dpo.choices import choices_of
from workers.reward import data
from workers.reward.data import Codec, Preferences

CODEC = Codec(encode=lambda messages, text: ([5], [ord(text[-1]) - 60, 2]), decode=lambda ids: "", eos=2)


def preferences(*rows: dict[str, Any]) -> Preferences:
    return data.from_table(list(rows), CODEC, 100)


def some(count: int, holdout: bool = False, **fields: Any) -> list[dict[str, Any]]:
    kind = "held out" if holdout else "prompt"
    return [answer(f"{kind} {i}", "good", "bad", **{"holdout": holdout, **fields}) for i in range(count)]


def test_the_preferred_response_is_the_chosen_one_whichever_side_it_was_on() -> None:
    found = preferences(*some(20), *some(20, holdout=True, preferred="b"))
    teaching, judging = choices_of(found)
    assert teaching.chosen.tolist() == found.first[teaching.pair].tolist()
    assert teaching.rejected.tolist() == found.second[teaching.pair].tolist()
    assert judging.chosen.tolist() == found.second[judging.pair].tolist()
    assert judging.rejected.tolist() == found.first[judging.pair].tolist()


def test_only_answers_that_prefer_one_response_count() -> None:
    undecided = [
        answer(f"prompt {i}", "good", "bad", verdict, holdout=False)
        for i, verdict in enumerate(["tie", "both_bad", "skipped"])
    ]
    teaching, judging = choices_of(preferences(*some(12), *undecided))
    assert len(teaching.pair) + len(judging.pair) == 12


def test_strength_counts_steps_above_slightly_better() -> None:
    rows = [answer(f"prompt {i}", "good", "bad", holdout=False, strength=s) for i, s in enumerate([1, 2, 3, None] * 5)]
    teaching, judging = choices_of(preferences(*rows))
    assert sorted([*teaching.strength, *judging.strength]) == [0.0] * 10 + [1.0] * 5 + [2.0] * 5


def test_held_out_prompts_judge_where_there_are_enough() -> None:
    found = preferences(*some(30), *some(20, holdout=True))
    teaching, judging = choices_of(found)
    assert (len(teaching.pair), len(judging.pair)) == (30, 20)
    assert found.holdout[judging.pair].all()
    assert not found.holdout[teaching.pair].any()


def test_a_fold_of_the_other_prompts_judges_where_few_are_held_out() -> None:
    # Two answers to each of 30 prompts; every fifth prompt judges, with all its answers. Held-out ones never teach.
    found = preferences(*some(30), *some(30, annotator="bob"), *some(19, holdout=True))
    teaching, judging = choices_of(found)
    assert (len(teaching.pair), len(judging.pair)) == (48, 12)
    assert not found.holdout[[*teaching.pair, *judging.pair]].any()
    assert not set(found.prompt[teaching.pair]) & set(found.prompt[judging.pair])


def test_answers_about_one_prompt_alone_get_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"All the answers are about one prompt\. Label pairs for more prompts"):
        choices_of(preferences(*[answer("prompt", "good", f"bad {letter}") for letter in "abcdefghij"]))
    with pytest.raises(ValueError, match=r"too few prompts\. Label pairs for more prompts"):
        choices_of(preferences(*some(24, holdout=True)))


def test_choices_about_some_pairs() -> None:
    teaching, _ = choices_of(preferences(*some(30), *some(30, annotator="bob"), *some(20, holdout=True)))
    found = teaching.about(np.array([3, 4]))
    assert sorted(found.pair.tolist()) == [3, 3, 4, 4]
    assert len(found.chosen) == len(found.rejected) == len(found.strength) == 4
