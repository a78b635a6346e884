"""How likely a person's graded choice is, given the two scores: Rao-Kupper ties and graded strength, as cut points.

The person is taken to perceive the difference of the two scores plus logistic noise, and to answer by the interval it
falls into: `-inf < -eta_2 < -eta_1 < eta_1 < eta_2 < inf` means much worse, worse, tie, better, much better. With one
threshold this is Rao and Kupper's model of ties (1967, theta = exp(eta)); with none it is Bradley and Terry's. Standard
numpy only, because the instant head is fitted where torch is not started.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Outcomes(NamedTuple):
    """What people answered, one row per pair and kind of answer. All arrays have one length, N."""

    pair: Integers
    """Which compared pair."""
    low: Integers
    """Lower cut point of the answer's interval, as an index into `cut_points`."""
    high: Integers
    """Upper cut point."""
    weight: Floats
    """How many answers this row stands for."""


class Slopes(NamedTuple):
    """Loss of N answers in nats, with first and second derivatives by u, v and w (see `interval_nll`); each [N]."""

    nll: Floats
    by_u: Floats
    by_v: Floats
    by_w: Floats
    curve_u: Floats
    curve_v: Floats
    curve_w: Floats


class Expansion(NamedTuple):
    """Total loss to second order around (delta [P], spacing [K]): value, two gradients, three blocks of curvature.

    The curvature by delta is diagonal, because an answer is about one pair.
    """

    value: float
    by_delta: Floats
    by_spacing: Floats
    curve_delta: Floats
    curve_mixed: Floats
    curve_spacing: Floats


def cut_points(spacing: Floats) -> Floats:
    """Return the 2 K + 2 cut points [-inf, -eta_K .. -eta_1, eta_1 .. eta_K, inf] for K spacings [K], all >= 0.

    eta_k is the sum of the first k spacings, so that thresholds never cross.
    """
    eta = np.cumsum(spacing)
    return np.concatenate([[-np.inf], -eta[::-1], eta, [np.inf]])


def interval(sign: int, strength: int | None, levels: int) -> tuple[int, int]:
    """Return the indices of the cut points around an answer.

    `sign` is 1 where a was preferred, -1 for b, 0 for a tie. `strength` counts from 1 to `levels` and more (which
    belongs to the last level); None is a preference whose strength nobody asked for.
    """
    if sign == 0:
        return levels, levels + 1
    if strength is None:
        return (levels + 1, 2 * levels + 1) if sign > 0 else (0, levels)
    low = levels + sign * min(strength, levels)
    return low, low + 1


def smooth(outcomes: Outcomes, levels: int, epsilon: float) -> Outcomes:
    """Return the outcomes with a share `epsilon` of every answer's weight given to its mirror image."""
    last = 2 * levels + 1
    return Outcomes(
        pair=np.concatenate([outcomes.pair, outcomes.pair]),
        low=np.concatenate([outcomes.low, last - outcomes.high]),
        high=np.concatenate([outcomes.high, last - outcomes.low]),
        weight=np.concatenate([outcomes.weight * (1 - epsilon), outcomes.weight * epsilon]),
    )


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


def interval_nll(delta: Floats, low: Floats, high: Floats) -> Slopes:
    """Return -log P(low < delta + noise < high) for score differences `delta` [N] and interval ends [N].

    With u = high - delta, v = delta - low, w = high - low:
    P = sigmoid(u) sigmoid(v) (1 - exp(-w)), which is sigmoid(u) - sigmoid(-v) without cancellation.
    """
    u, v, w = high - delta, delta - low, high - low
    with np.errstate(over="ignore"):
        gap = np.exp(-w)
        return Slopes(
            nll=np.logaddexp(0.0, -u) + np.logaddexp(0.0, -v) - np.log1p(-gap),
            by_u=-sigmoid(-u),
            by_v=-sigmoid(-v),
            by_w=-1.0 / np.expm1(w),
            curve_u=sigmoid(u) * sigmoid(-u),
            curve_v=sigmoid(v) * sigmoid(-v),
            curve_w=gap / (1.0 - gap) ** 2,
        )


def expand(delta: Floats, spacing: Floats, outcomes: Outcomes) -> Expansion:
    """Return the weighted loss of all outcomes to second order, for score differences [P] and spacings [K]."""
    cuts = cut_points(spacing)
    pair, weight = outcomes.pair, outcomes.weight
    s = interval_nll(delta[pair], cuts[outcomes.low], cuts[outcomes.high])
    low, high = _design(outcomes.low, len(spacing)), _design(outcomes.high, len(spacing))
    u, v, w = weight * s.curve_u, weight * s.curve_v, weight * s.curve_w

    def per_pair(values: Floats) -> Floats:
        return np.bincount(pair, values, len(delta)).astype(np.float64)

    mixed = u[:, None] * high + v[:, None] * low
    return Expansion(
        value=float(weight @ s.nll),
        by_delta=per_pair(weight * (s.by_v - s.by_u)),
        by_spacing=(weight * (s.by_u + s.by_w)) @ high - (weight * (s.by_v + s.by_w)) @ low,
        curve_delta=per_pair(u + v),
        curve_mixed=-np.stack([per_pair(column) for column in mixed.T], axis=1),
        curve_spacing=(high.T * u) @ high + (low.T * v) @ low + ((high - low).T * w) @ (high - low),
    )


def preferred_probability(delta: Floats, threshold: Floats) -> Floats:
    """Return P(a preferred, given that one of the two is) [N] for score differences [N] and first thresholds [N]."""
    a, b = sigmoid(delta - threshold), sigmoid(-delta - threshold)
    return a / (a + b)


def _design(index: Integers, levels: int) -> Floats:
    """Return [N, K] so that cut point n is `design[n] @ spacing`; the infinite ones do not move and get zeros."""
    rank = np.where(index <= levels, index - levels - 1, index - levels)
    design = np.sign(rank)[:, None] * (np.abs(rank)[:, None] > np.arange(levels))
    design[(index == 0) | (index == 2 * levels + 1)] = 0
    return design.astype(np.float64)
