"""The instant head: a ridge-regularised linear score on pooled frozen states, fitted by Newton's method in numpy.

Minimises over theta and the spacings s of the thresholds the convex function
`loss(D theta, s) + ridge / 2 |theta|^2 + sum_k (s_k / s0_k - log s_k)`, where D holds the feature differences of the
compared pairs. The last term is a weak prior that keeps every spacing positive and near where it started.
"""

from typing import NamedTuple

import numpy as np

from workers.reward.loss import Floats, Integers, Outcomes, cut_points, expand, interval_nll, smooth

# Times the number of features: from "hardly moves" to "fits every label".
RIDGES: tuple[float, ...] = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)


class Fit(NamedTuple):
    """A fitted head: `theta` [F] for standardised features, `spacing` [K] of the thresholds."""

    theta: Floats
    spacing: Floats


class CrossValidation(NamedTuple):
    """What the folds say: the best ridge, its out-of-fold differences [P] and spacings [P, K], the loss per ridge."""

    ridge: float
    delta: Floats
    spacing: Floats
    losses: dict[float, float]


def start_spacing(outcomes: Outcomes, levels: int) -> Floats:
    """Return spacings [levels] to start from; the first is 0, and stays 0, where nobody answered with a tie.

    P(tie | delta = 0) = tanh(eta / 2), so the first threshold starts at twice the inverse of that for the tie rate.
    """
    tie = (outcomes.low == levels) & (outcomes.high == levels + 1)
    rate = float(outcomes.weight[tie].sum() / outcomes.weight.sum())
    return np.concatenate([[2 * np.arctanh(min(rate, 0.9))], np.ones(levels - 1)])


def principal(differences: Floats) -> tuple[Floats, Floats]:
    """Return (coordinates [P, R], axes [F, R]) of feature differences [P, F] along their principal axes.

    `differences == coordinates @ axes.T`, so a ridge fit is the same in both; here its curvature is nearly diagonal.
    """
    pairs, features = differences.shape
    if pairs < features:
        values, vectors = np.linalg.eigh(differences @ differences.T)
        keep = values > values[-1] * 1e-12
        root = np.sqrt(values[keep])
        return vectors[:, keep] * root, differences.T @ (vectors[:, keep] / root)
    _, axes = np.linalg.eigh(differences.T @ differences)
    return differences @ axes, axes


def fit(differences: Floats, outcomes: Outcomes, ridge: float, prior: Floats, start: Fit | None = None) -> Fit:
    """Fit the head to feature differences [P, F] (a minus b); `outcomes` may name any subset of the pairs.

    `ridge` is absolute, `prior` [K] comes from `start_spacing`, `start` saves iterations on a path of ridges.
    """
    now = start or Fit(np.zeros(differences.shape[1]), prior)
    value = _objective(differences, outcomes, ridge, prior, now)
    for _ in range(50):
        step, decrease = _newton_step(differences, outcomes, ridge, prior, now)
        length = 1.0
        while length > 1e-8:
            new = Fit(now.theta - length * step.theta, now.spacing - length * step.spacing)
            new_value = _objective(differences, outcomes, ridge, prior, new)
            if new_value <= value:
                break
            length /= 2
        else:
            return now
        now, value = new, new_value
        if decrease < 1e-8 * (1 + value):
            return now
    return now


def cross_validate(
    differences: Floats, outcomes: Outcomes, fold: Integers, prior: Floats, epsilon: float
) -> CrossValidation:
    """Choose the ridge by out-of-fold loss; `fold` [P] says which group of prompts a pair belongs to."""
    coordinates, _ = principal(differences)
    smoothed = smooth(outcomes, len(prior), epsilon)
    delta = {ridge: np.zeros(len(fold)) for ridge in RIDGES}
    spacing = {ridge: np.zeros((len(fold), len(prior))) for ridge in RIDGES}
    losses = dict.fromkeys(RIDGES, 0.0)
    for held in np.unique(fold):
        train = subset(smoothed, fold[smoothed.pair] != held)
        test = subset(outcomes, fold[outcomes.pair] == held)
        now: Fit | None = None
        for ridge in RIDGES:
            now = fit(coordinates, train, ridge * differences.shape[1], prior, now)
            delta[ridge][fold == held] = coordinates[fold == held] @ now.theta
            spacing[ridge][fold == held] = now.spacing
            cuts = cut_points(now.spacing)
            losses[ridge] += float(
                test.weight @ interval_nll(delta[ridge][test.pair], cuts[test.low], cuts[test.high]).nll
            )
    best = min(RIDGES, key=lambda ridge: losses[ridge])
    total = float(outcomes.weight.sum())
    return CrossValidation(best, delta[best], spacing[best], {ridge: loss / total for ridge, loss in losses.items()})


def fit_all(differences: Floats, outcomes: Outcomes, ridge: float, prior: Floats, epsilon: float) -> Fit:
    """Fit the head to every outcome with the ridge (per feature) that cross-validation chose."""
    coordinates, axes = principal(differences)
    now = fit(coordinates, smooth(outcomes, len(prior), epsilon), ridge * differences.shape[1], prior)
    return Fit(axes @ now.theta, now.spacing)


def _objective(differences: Floats, outcomes: Outcomes, ridge: float, prior: Floats, at: Fit) -> float:
    free = prior > 0
    if (at.spacing[free] <= 0).any():
        return float("inf")
    penalty = (at.spacing[free] / prior[free] - np.log(at.spacing[free])).sum()
    value = expand(differences @ at.theta, at.spacing, outcomes).value
    return float(value + ridge / 2 * at.theta @ at.theta + penalty)


def _newton_step(differences: Floats, outcomes: Outcomes, ridge: float, prior: Floats, at: Fit) -> tuple[Fit, float]:
    """Return the Newton step and how much the objective falls along it, by preconditioned conjugate gradients."""
    local = expand(differences @ at.theta, at.spacing, outcomes)
    free = prior > 0
    size = len(at.theta)
    inverse = np.divide(1.0, at.spacing, out=np.zeros_like(prior), where=free)
    prior_slope = np.divide(1.0, prior, out=np.zeros_like(prior), where=free) - inverse
    gradient = np.concatenate(
        [differences.T @ local.by_delta + ridge * at.theta, np.where(free, local.by_spacing + prior_slope, 0.0)]
    )

    def hessian(x: Floats) -> Floats:
        theta, spacing = x[:size], x[size:]
        moved = differences @ theta
        return np.concatenate(
            [
                differences.T @ (local.curve_delta * moved + local.curve_mixed @ spacing) + ridge * theta,
                np.where(free, local.curve_mixed.T @ moved + local.curve_spacing @ spacing + inverse**2 * spacing, 0.0),
            ]
        )

    diagonal = np.concatenate(
        [
            local.curve_delta @ differences**2 + ridge,
            np.where(free, local.curve_spacing.diagonal() + inverse**2, 1.0),
        ]
    )
    step, residual = np.zeros_like(gradient), gradient.copy()
    direction = scaled = residual / diagonal
    size_now = first = residual @ scaled
    for _ in range(200):
        if size_now <= 1e-8 * first:
            break
        curved = hessian(direction)
        length = size_now / (direction @ curved)
        step, residual = step + length * direction, residual - length * curved
        scaled = residual / diagonal
        size_before, size_now = size_now, residual @ scaled
        direction = scaled + size_now / size_before * direction
    return Fit(step[:size], step[size:]), float(gradient @ step)


def subset(outcomes: Outcomes, rows: np.ndarray) -> Outcomes:
    """Return the outcomes chosen by a mask or by indices."""
    return Outcomes(outcomes.pair[rows], outcomes.low[rows], outcomes.high[rows], outcomes.weight[rows])
