"""Scores depend on the response alone: not on padding, batch or order, and not on the process that computes them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from workers import artifacts
from workers.language.adapters import LoraConfig, create
from workers.language.layers import LAST, block_count, states_at
from workers.language.logprobs import Row
from workers.language.model import LanguageModel
from workers.reward.model import RewardModel, batches, load_reward, pool, pooled_layer, score_all, with_adapter, write

ROWS: list[Row] = [([5, 6, 7], [8, 9, 2]), ([10, 11], [12, 13, 14, 15, 16]), ([9] * 12, [2]), ([4], [20, 21])]
WORDS: list[Row] = [([5, 6], [8, 9, 2]), ([7, 3], [9, 8, 2]), ([7, 3], [9, 8, 4])]


def make(lm: LanguageModel, lower: int | None, layer: int = 1) -> RewardModel:
    """A reward model with seeded random weights, with an adapter on the blocks from `lower` on."""
    generator = torch.Generator().manual_seed(3)
    width = lm.model.config.hidden_size
    centre, weights = torch.randn(2, 4 * width, generator=generator)
    model = RewardModel(lm, layer, "words", centre, torch.full_like(centre, 2.0), weights)
    if lower is None:
        return model
    adapter = create(lm, "reward", LoraConfig(4, 8, layers=tuple(range(lower, block_count(lm)))), seed=5)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    model = with_adapter(model, "reward", lower, torch.zeros(width), torch.ones(width))
    model.weights[-width:] = torch.randn(width, generator=generator)
    return model


def test_pooling_reads_the_response_alone() -> None:
    states = torch.arange(12.0).view(1, 6, 2)
    # Prompt of 2, response of 3: positions 2, 3, 4 hold (4, 5), (6, 7), (8, 9); position 5 is padding.
    found = pool(states, [([1, 1], [1, 1, 1])], ("mean", "sum", "last"))
    assert found.tolist() == [[6.0, 7.0, 18.0, 21.0, 8.0, 9.0]]


def test_words_count_as_they_go_into_the_first_block_whatever_stands_around_them(family: LanguageModel) -> None:
    width = family.model.config.hidden_size
    found = make(family, None).features(WORDS)
    words = found[:, 3 * width :]
    torch.testing.assert_close(words, pool(states_at(family, WORDS, [0])[0], WORDS, ("sum",)))
    if family.model.config.model_type != "gpt2":  # which adds positions there
        torch.testing.assert_close(words[0], words[1])
    assert not torch.allclose(words[1], words[2])
    assert not torch.allclose(found[0, : 3 * width], found[1, : 3 * width])


@pytest.mark.parametrize(("lower", "layer"), [(None, 1), (2, 1), (1, 1), (0, 1), (None, LAST), (1, LAST)])
def test_scores_do_not_depend_on_padding_batch_or_order(family: LanguageModel, lower: int | None, layer: int) -> None:
    model = make(family, lower, layer)
    alone = torch.cat([model.scores([row]) for row in ROWS]).detach()
    together = model.scores(ROWS).detach()
    backwards = model.scores(ROWS[::-1]).detach().flip(0)
    bucketed = score_all(model, ROWS)
    assert alone.std() > 0.1
    for other in (together, backwards, bucketed):
        torch.testing.assert_close(other, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lower", [2, 1])
def test_states_of_the_base_model_can_be_shared(family: LanguageModel, lower: int) -> None:
    model = make(family, lower)
    base = states_at(family, ROWS, model.base_layers())
    torch.testing.assert_close(model.scores(ROWS, base), model.scores(ROWS), atol=1e-6, rtol=1e-6)


def test_adapters_below_the_pooled_layer_share_nothing(family: LanguageModel) -> None:
    assert make(family, 0).base_layers() == []
    assert make(family, 2).base_layers() == [1, 2]
    assert make(family, 2, LAST).base_layers() == [], "the last norm lies above every adapter"


def test_the_depth_counts_blocks_and_ends_after_the_last_norm(family: LanguageModel) -> None:
    assert [pooled_layer(family, depth) for depth in (0.1, 0.4, 0.7, 0.99, 1.0)] == [1, 1, 2, 2, LAST]
    last = states_at(family, ROWS, [LAST])[LAST]
    model = make(family, None, LAST)
    width = family.model.config.hidden_size
    assert torch.equal(model.features(ROWS)[:, : 3 * width], pool(last, ROWS, ("mean", "sum", "last")))


@pytest.mark.parametrize("lower", [None, 2, 0])
def test_the_course_of_a_score_is_what_the_tokens_so_far_add(family: LanguageModel, lower: int | None) -> None:
    """Of the features' blocks (mean, sum, last, words, and with an adapter its mean) the first n tokens' own."""
    model = make(family, lower)
    scores, earned = (one.detach() for one in model.course(ROWS))
    torch.testing.assert_close(scores, model.scores(ROWS).detach())
    means, sums = ((0, 4), (1, 3)) if lower is not None else ((0,), (1, 3))
    slopes = (model.weights / model.scale).split(family.model.config.hidden_size)
    for row, (prompt, response) in enumerate(ROWS):
        assert earned[row, 0].tolist() == [0, 0], "before the first token nothing is earned"
        assert not earned[row, len(response) :].any()
        for n in range(1, len(response)):
            blocks = model.features([(prompt, response[:n])])[0].detach().split(family.model.config.hidden_size)
            expected = [sum(blocks[i] @ slopes[i] for i in sums), n * sum(blocks[i] @ slopes[i] for i in means)]
            torch.testing.assert_close(earned[row, n], torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_at_first_adapters_change_no_score(tiny: LanguageModel) -> None:
    head = make(tiny, None)
    create(tiny, "fresh", LoraConfig(4, 8), seed=5)
    width = tiny.model.config.hidden_size
    fresh = with_adapter(head, "fresh", 1, torch.randn(width), torch.rand(width) + 0.5)
    torch.testing.assert_close(fresh.scores(ROWS), head.scores(ROWS), atol=1e-5, rtol=0)


def test_normalised_scores_have_the_base_model_at_zero(tiny: LanguageModel) -> None:
    zeros = torch.zeros(64)
    model = RewardModel(tiny, 1, "mean", zeros, zeros, zeros, mean=3.0, std=2.0)
    assert model.normalised(torch.tensor([3.0, 5.0])).tolist() == [0.0, 1.0]


def test_batches_hold_every_row_once_and_rows_of_like_length() -> None:
    assert batches(ROWS, 2) == [[3, 0], [1, 2]]


FRESH = """
import sys, torch
torch.set_num_threads(1)
from tests.workers.reward.test_model import ROWS
from workers.language.model import load
from workers.reward.model import load_reward, score_all
lm = load("tiny")
for url, sha256 in zip(sys.argv[1::2], sys.argv[2::2]):
    print([value.hex() for value in score_all(load_reward(lm, url, sha256, "another name"), ROWS).tolist()])
"""


def test_a_fresh_process_gives_bit_identical_scores(tiny: LanguageModel, tmp_path: Path) -> None:
    arguments, expected = [], []
    for name, lower in [("head", None), ("adapter", 1)]:
        model, url = make(tiny, lower), f"{tmp_path.as_uri()}/{name}/"
        arguments += [url, write(model, url, {"samples": 1}, {"kind": "reward"})]
        expected.append([value.hex() for value in score_all(model, ROWS).tolist()])
    command = [sys.executable, "-c", FRESH, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]).stdout
    assert found.splitlines() == [str(one) for one in expected]


@pytest.mark.parametrize("stats", ["{}", '{"samples": 256}', '{"mean": 0.5, "std": 0.0}'])
def test_without_zero_and_unit_a_reward_model_is_refused(tiny: LanguageModel, tmp_path: Path, stats: str) -> None:
    url = tmp_path.as_uri() + "/checkpoint"
    write(make(tiny, None), url, {}, {})
    sha256 = artifacts.write(url, "reward", "tiny", {**artifacts.read(url), "reward_stats.json": stats.encode()})
    with pytest.raises(ValueError, match=r"have no zero and no unit\. Train it again\."):
        load_reward(tiny, url, sha256)


def test_without_an_adapter_no_adapter_files_are_written(tiny: LanguageModel, tmp_path: Path) -> None:
    url = tmp_path.as_uri() + "/checkpoint"
    write(make(tiny, None), url, {}, {})
    assert sorted(artifacts.read(url)) == ["card.json", "head.safetensors", "reward_stats.json"]
    write(make(tiny, 1), url, {}, {})
    assert "adapter_model.safetensors" in artifacts.read(url)


def test_a_reward_model_of_another_base_or_kind_is_refused(tiny: LanguageModel, tmp_path: Path) -> None:
    url = tmp_path.as_uri() + "/checkpoint"
    sha256 = artifacts.write(url, "policy", "tiny", {"card.json": b"{}"})
    with pytest.raises(ValueError, match="holds a policy checkpoint, not a reward model"):
        load_reward(tiny, url, sha256)
    sha256 = artifacts.write(url, "reward", "smollm2-135m-instruct", {"card.json": b"{}"})
    with pytest.raises(ValueError, match="trained on smollm2-135m-instruct, not on tiny"):
        load_reward(tiny, url, sha256)
