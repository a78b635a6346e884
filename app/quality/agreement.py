"""How far people agree: percent agreement and Krippendorff's alpha, with a bootstrap interval over comparisons.

Krippendorff, K. (2011), "Computing Krippendorff's Alpha-Reliability", University of Pennsylvania: the coincidence
matrix o holds, for every unit of m >= 2 values, each ordered pair of values with weight 1 / (m - 1); n_c are its row
sums and n their sum. With a distance d2(c, k) between values,

    alpha = 1 - (n - 1) * sum_ck o_ck d2(c, k) / sum_ck n_c n_k d2(c, k)

Nominal: d2 = 1 where c and k differ. Ordinal: d2 = (sum_{g=c..k} n_g - (n_c + n_k) / 2)^2.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Level = Literal["nominal", "ordinal"]
DRAWS = 1000
SEED = 20


class Agreement(NamedTuple):
    """Over `units` comparisons with two or more answers. A figure is None where it is not defined.

    `percent`: the share of pairs of answers to one comparison that are equal. `low` and `high`: the middle 95 % of
    alpha over draws of as many comparisons, with replacement.
    """

    units: int
    percent: float | None
    alpha: float | None
    low: float | None
    high: float | None


def agreement(units: Iterable[Sequence[int]], categories: int, level: Level) -> Agreement:
    """Agreement of units of values 0 .. categories - 1; a unit with fewer than two values does not count.

    Alpha is None without such units, and where all values are the same: then chance alone would agree as well.
    """
    patterns = Counter(tuple(sorted(unit)) for unit in units if len(unit) > 1)
    if not patterns:
        return Agreement(0, None, None, None, None)
    matrices = np.stack([_coincidences(pattern, categories) for pattern in patterns])
    counts = np.array(list(patterns.values()))
    alpha, percent = _alphas(counts[None], matrices, level)[0], _percent(counts, list(patterns))
    if np.isnan(alpha):
        return Agreement(int(counts.sum()), percent, None, None, None)
    # Equal units are drawn alike, so a draw of units is a multinomial draw of their patterns.
    draws = np.random.default_rng(SEED).multinomial(counts.sum(), counts / counts.sum(), size=DRAWS)
    drawn = _alphas(draws, matrices, level)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Agreement(int(counts.sum()), percent, float(alpha), float(low), float(high))


def _coincidences(unit: Sequence[int], categories: int) -> Floats:
    """The coincidence matrix [C, C] of one unit."""
    present = np.bincount(unit, minlength=categories).astype(np.float64)
    pairs = np.outer(present, present) - np.diag(present)
    return np.asarray(pairs / (len(unit) - 1))


def _percent(counts: NDArray[np.integer[Any]], patterns: Sequence[Sequence[int]]) -> float:
    """The share of equal pairs among all unordered pairs of values of one unit."""
    equal = total = 0
    for times, pattern in zip(counts.tolist(), patterns, strict=True):
        equal += times * sum(n * (n - 1) // 2 for n in Counter(pattern).values())
        total += times * (len(pattern) * (len(pattern) - 1) // 2)
    return equal / total


def _alphas(draws: NDArray[np.integer[Any]], matrices: Floats, level: Level) -> Floats:
    """Alpha [B] of draws [B, P], which say how often each pattern's matrix [P, C, C] is in; nan where undefined."""
    together = np.einsum("bp,pck->bck", draws.astype(np.float64), matrices)
    margins = together.sum(2)
    distances = _distances(margins, level)
    observed = (together * distances).sum((1, 2))
    expected = (margins[:, :, None] * margins[:, None, :] * distances).sum((1, 2))
    total = margins.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(expected > 0, 1 - (total - 1) * observed / expected, np.nan))


def _distances(margins: Floats, level: Level) -> Floats:
    """Squared distances [B, C, C] between the values, for margins [B, C]."""
    draws, categories = margins.shape
    if level == "nominal":
        return np.broadcast_to(1 - np.eye(categories), (draws, categories, categories))
    # The middle of a value's ranks; from one middle to the next it is half of either's ranks and all of those between.
    middles = np.cumsum(margins, 1) - margins / 2
    return np.asarray((middles[:, :, None] - middles[:, None, :]) ** 2)
