"""Draws follow the exact distribution, whole or nucleus; numbers small enough to check by hand."""

import math
from collections import Counter
from random import Random

import pytest
import torch
from scipy.stats import chisquare

from workers.language import sampling
from workers.language.sampling import Settings, in_nucleus, inverse_cdf, sample, sorted_nucleus

DRAWS = 10_000
# Eight tokens over more than one block would need 257; the tests with a wide vocabulary are further down.
LOGITS = torch.log(torch.tensor([0.02, 0.30, 0.05, 0.25, 0.08, 0.20, 0.04, 0.06]))


def draw(logits: torch.Tensor, settings: Settings, count: int = DRAWS, seed: int = 0) -> Counter[int]:
    streams = [Random(seed * 1_000_003 + index) for index in range(count)]
    tokens, _ = sample(logits.expand(count, -1), [settings] * count, streams)
    return Counter(tokens.tolist())


def fits(counts: Counter[int], expected: torch.Tensor) -> bool:
    """χ² against exact probabilities; nothing may fall where the probability is zero."""
    possible = [token for token in range(len(expected)) if expected[token] > 0]
    assert set(counts) <= set(possible)
    total = sum(counts.values())
    if len(possible) == 1:
        return True
    observed = [counts[token] for token in possible]
    return float(chisquare(observed, [float(expected[token]) * total for token in possible]).pvalue) > 0.001


def test_the_whole_distribution_is_followed() -> None:
    assert fits(draw(LOGITS, Settings()), LOGITS.double().softmax(-1))


def test_the_temperature_is_followed() -> None:
    assert fits(draw(LOGITS, Settings(temperature=2.0)), (LOGITS.double() / 2).softmax(-1))
    assert not fits(draw(LOGITS, Settings(temperature=2.0)), LOGITS.double().softmax(-1))


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.25, [1]),  # .30 alone reaches .25
        (0.50, [1, 3]),  # .30 + .25
        (0.74, [1, 3, 5]),  # .30 + .25 + .20 = .75
        (0.80, [1, 3, 5, 4]),  # … + .08 = .83
        (0.97, [1, 3, 5, 4, 7, 2, 6]),  # … + .06 + .05 + .04 = .98
    ],
)
def test_the_nucleus_is_followed(top_p: float, kept: list[int]) -> None:
    expected = torch.zeros(8, dtype=torch.float64)
    expected[kept] = LOGITS.double().exp()[kept]
    assert fits(draw(LOGITS, Settings(top_p=top_p)), expected / expected.sum())


def test_a_wide_vocabulary_is_followed_in_every_block() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1000, generator=generator)
    probabilities = logits.double().softmax(-1)
    # Neighbours are counted together, so that every count is large enough for χ²: 50 bins of 20 tokens.
    counts = draw(logits, Settings())
    binned = Counter({index: sum(counts[index * 20 + j] for j in range(20)) for index in range(50)})
    assert fits(binned, probabilities.view(50, 20).sum(-1))


def test_the_fast_nucleus_has_the_tokens_of_the_sorted_one() -> None:
    generator = torch.Generator().manual_seed(4)
    weights = torch.randn(6, 700, generator=generator).mul(3).exp()
    # Equal weights on the edge belong in or out together.
    weights[5] = 1.0
    top_p = torch.tensor([0.1, 0.5, 0.9, 0.95, 0.999, 0.5])
    uniforms = torch.arange(0, 1, 1 / 1500, dtype=torch.float64)
    for row in range(6):
        expanded = weights[row].expand(1500, -1)
        drawn = set(sorted_nucleus(expanded, uniforms, top_p[row].expand(1500)).tolist())
        accepted = in_nucleus(
            weights[row].expand(700, -1), weights[row].sum().expand(700), torch.arange(700), top_p[row].expand(700)
        )
        inside = set(accepted.nonzero()[:, 0].tolist())
        assert drawn <= inside
        likely = {token for token in inside if weights[row, token] / weights[row, list(inside)].sum() > 1 / 700}
        assert likely <= drawn


def test_the_sorted_path_alone_is_exact_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "DRAWS", 0)
    expected = torch.zeros(8, dtype=torch.float64)
    expected[[1, 3]] = torch.tensor([0.30, 0.25], dtype=torch.float64)
    assert fits(draw(LOGITS, Settings(top_p=0.5)), expected / 0.55)


def test_the_cumulative_sum_is_inverted_at_its_edges() -> None:
    weights = torch.tensor([[0.0, 1.0, 2.0, 0.0, 1.0, 0.0]]).expand(6, -1)
    uniforms = torch.tensor([0.0, 0.24, 0.25, 0.74, 0.75, 1 - 1e-12], dtype=torch.float64)
    # The cumulative sums are 0, 1, 3, 3, 4, 4: four equal quarters for tokens 1, 2, 2, 4.
    assert inverse_cdf(weights, uniforms).tolist() == [1, 1, 2, 2, 4, 4]


def test_a_token_of_weight_zero_is_never_drawn() -> None:
    weights = torch.zeros(3, 600)
    weights[:, 300] = 1.0
    assert inverse_cdf(weights, torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)).tolist() == [300, 300, 300]


def test_log_probabilities_are_those_of_the_whole_distribution() -> None:
    settings = [Settings(), Settings(top_p=0.5), Settings(temperature=0.5), Settings(temperature=0)]
    tokens, logprobs = sample(LOGITS.expand(4, -1), settings, [Random(index) for index in range(4)])
    halved = torch.log_softmax(LOGITS / 0.5, -1)
    expected = [float(LOGITS[tokens[0]]), float(LOGITS[tokens[1]]), float(halved[tokens[2]]), math.log(0.30)]
    assert tokens[1] in (1, 3)
    assert tokens[3] == 1
    assert torch.allclose(logprobs, torch.tensor(expected), atol=1e-6)


def test_a_row_depends_on_its_own_stream_and_settings_alone() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(4, 500, generator=generator) * 3
    settings = [Settings(), Settings(0.7, 0.9), Settings(1.3, 0.3), Settings(0)]
    together, _ = sample(logits, settings, [Random(seed) for seed in (1, 2, 3, 4)])
    for row in range(4):
        alone, _ = sample(logits[row : row + 1], settings[row : row + 1], [Random(row + 1)])
        assert alone[0] == together[row]


def test_the_logits_are_not_changed() -> None:
    logits = LOGITS.clone()[None]
    sample(logits, [Settings(temperature=0.5, top_p=0.5)], [Random(0)])
    assert torch.equal(logits[0], LOGITS)


def test_extreme_logits_are_no_trouble() -> None:
    logits = torch.tensor([[1e4, -1e4, -math.inf, 0.0]])
    tokens, logprobs = sample(logits, [Settings(top_p=0.9)], [Random(0)])
    assert tokens.tolist() == [0]
    assert logprobs.tolist() == [0.0]
