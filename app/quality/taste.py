"""What people prefer, other things equal: the Bradley-Terry model with a ridge over features of the two texts.

Bradley and Terry (1952, Biometrika 39, 324-345), with strengths linear in the features: the chance that a response
with features x is preferred to one with y is sigma(w . (x - y) / s), where s [F] is the spread of the differences (the
root of their mean square). The weights minimise

    L(w) = -sum_i log sigma(w . d_i) + RIDGE / 2 * |w|^2

and their standard errors are the roots of the diagonal of L's inverse second derivative at the minimum (the Laplace
approximation, for which the ridge is a normal prior of variance 1 / RIDGE).
"""

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
RIDGE = 1.0
ERROR = 0.05
"""The chance, at most, that any interval at all leaves out zero where people do not care about any feature."""
STEPS = 50


class Weight(NamedTuple):
    """A feature's weight and its interval, for a difference of one spread, as changes of the log odds."""

    weight: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def chance(weight: float) -> float:
    """How often a response is preferred that is ahead by one spread of a feature of this weight, all else equal."""
    return 1 / (1 + math.exp(-weight))


def fit(differences: Floats) -> list[Weight | None]:
    """The weight of each feature from [N, F], the preferred response's features less the other's.

    None for a feature in which no two responses differ. The intervals hold together (Bonferroni): the more features
    vary, the wider is each.
    """
    spread = np.sqrt((differences**2).mean(0)) if len(differences) else np.zeros(differences.shape[1])
    varies = spread > 0
    if not varies.any():
        return [None] * differences.shape[1]
    weights, errors = _minimum(differences[:, varies] / spread[varies])
    z = NormalDist().inv_cdf(1 - ERROR / (2 * int(varies.sum())))
    found = iter(zip(weights.tolist(), (z * errors).tolist(), strict=True))
    return [_around(*next(found)) if one else None for one in varies]


def _around(weight: float, half: float) -> Weight:
    return Weight(weight, weight - half, weight + half)


def _minimum(differences: Floats) -> tuple[Floats, Floats]:
    """Weights [F] and standard errors [F] by Newton's method, halving steps that overshoot."""
    weights = np.zeros(differences.shape[1])
    for _step in range(STEPS):
        wrong = 1 / (1 + np.exp(differences @ weights))
        slope = RIDGE * weights - differences.T @ wrong
        move = np.linalg.solve(_curvature(differences, weights), slope)
        while _loss(differences, weights - move) > _loss(differences, weights) and np.abs(move).max() > 1e-9:
            move /= 2
        weights = weights - move
        if np.abs(move).max() < 1e-9:
            break
    return weights, np.sqrt(np.diag(np.linalg.inv(_curvature(differences, weights))))


def _loss(differences: Floats, weights: Floats) -> float:
    return float(np.logaddexp(0, -differences @ weights).sum() + RIDGE / 2 * weights @ weights)


def _curvature(differences: Floats, weights: Floats) -> Floats:
    right = 1 / (1 + np.exp(-differences @ weights))
    return np.asarray((differences.T * (right * (1 - right))) @ differences + RIDGE * np.eye(len(weights)))
