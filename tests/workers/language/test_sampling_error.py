"""How far the sampler may be off: not by two per cent, in a temperature or in one token's probability."""

from random import Random

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from workers.language.decode import generate
from workers.language.model import LanguageModel
from workers.language.sampling import Settings, inverse_cdf, sample, sorted_nucleus

SHARES = torch.tensor([0.02, 0.30, 0.05, 0.25, 0.08, 0.20, 0.04, 0.06], dtype=torch.float64)
CHUNK = 10_000
# A weight that is 2 % too large moves χ² by N * 0.02² * p (1 - p): by 50 for p = 0.3 and N = 600,000, where 24 is
# reached once in a thousand times by chance.
DRAWS = 60 * CHUNK


def counts(settings: Settings) -> Tensor:
    """How often each token came in DRAWS draws, all from one stream of random numbers."""
    stream, logits = Random(11), SHARES.float().log().expand(CHUNK, -1)
    found = torch.zeros(len(SHARES), dtype=torch.float64)
    for _ in range(DRAWS // CHUNK):
        found += torch.bincount(sample(logits, [settings] * CHUNK, [stream] * CHUNK)[0], minlength=len(SHARES))
    return found


def fits(found: Tensor, weights: Tensor) -> bool:
    possible = weights > 0
    assert found[~possible].sum() == 0
    expected = weights[possible] / weights.sum() * found.sum()
    return float(chisquare(found[possible].numpy(), expected.numpy()).pvalue) > 0.001


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (Settings(), range(8)),
        (Settings(temperature=0.7), range(8)),
        # 0.30 + 0.25 + 0.20 = 0.75 is not enough, 0.08 more is.
        (Settings(temperature=1.0, top_p=0.8), [1, 3, 5, 4]),
    ],
)
def test_two_per_cent_would_be_seen(settings: Settings, kept: list[int]) -> None:
    inside = torch.zeros_like(SHARES)
    inside[list(kept)] = 1
    found = counts(settings)
    exact = SHARES ** (1 / settings.temperature) * inside
    assert fits(found, exact)
    for temperature in (settings.temperature * 0.98, settings.temperature * 1.02):
        assert not fits(found, SHARES ** (1 / temperature) * inside)
    for factor in (0.98, 1.02):
        wrong = exact.clone()
        wrong[1] *= factor
        assert not fits(found, wrong)


def even(count: int) -> Tensor:
    """Evenly spaced numbers in [0, 1): through the inverse of a cumulative sum every token comes N p times."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def test_every_token_of_several_blocks_has_its_exact_share() -> None:
    # 600 tokens are two whole blocks and a part of a third; each count may be off by the two ends of its interval.
    weights = torch.randn(600, generator=torch.Generator().manual_seed(8)).mul(2).exp()
    found = torch.zeros(600, dtype=torch.float64)
    for uniforms in even(60_000).split(6_000):
        found += torch.bincount(inverse_cdf(weights.expand(len(uniforms), -1), uniforms), minlength=600)
    expected = weights.double() / weights.double().sum() * 60_000
    assert float((found - expected).abs().max()) < 1.1


def test_every_token_of_a_sorted_nucleus_has_its_exact_share() -> None:
    weights = torch.randn(600, generator=torch.Generator().manual_seed(9)).mul(2).exp()
    order = weights.double().argsort(descending=True)
    before = weights.double()[order].cumsum(0) - weights.double()[order]
    kept = torch.zeros(600, dtype=torch.float64)
    kept[order[before < 0.9 * weights.double().sum()]] = 1
    assert 20 < kept.sum() < 300
    found = torch.zeros(600, dtype=torch.float64)
    for uniforms in even(12_000).split(6_000):
        rows = weights.expand(len(uniforms), -1)
        found += torch.bincount(sorted_nucleus(rows, uniforms, torch.full((len(uniforms),), 0.9)), minlength=600)
    expected = weights * kept
    assert float((found - expected / expected.sum() * 12_000).abs().max()) < 1.1


def test_the_first_token_of_an_answer_follows_the_models_distribution(tiny: LanguageModel) -> None:
    prompt, count = [1, 40, 2, 3], 20_000
    (answers,) = generate(tiny, [prompt], count, Settings(max_tokens=1), seed=0, rows=4_000)
    with torch.no_grad():
        share = tiny.model(torch.tensor([prompt])).logits[0, -1].double().softmax(-1)
    found = torch.bincount(torch.tensor([answer.token_ids[0] for answer in answers]), minlength=len(share))
    # Tokens that are expected less than five times are counted together, as χ² asks for.
    often = share * count >= 5
    table = [torch.cat([one[often], one[~often].sum()[None]]) for one in (found.double(), share * count)]
    assert float(chisquare(*(one.numpy() for one in table)).pvalue) > 0.001
