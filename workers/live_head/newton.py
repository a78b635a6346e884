"""Many ridge heads at once: they differ in the weight of each answer and in the ridge, and share every matrix product.

Head m minimises over theta_m the convex function `sum_n w_nm loss(d_n theta_m) + ridge_m / 2 |theta_m|^2`, the
objective of workers/reward/head.py with its thresholds held where they are. One product of a matrix with M columns
costs little more than one with a single vector, so folds, ridges and bootstraps come at the price of one head.
"""

from typing import NamedTuple

import numpy as np

from workers.reward.loss import Floats, Integers, cut_points, interval_nll

STEPS = 12
HALVINGS = 6
SOLVE_TO, STOP_AT = 1e-2, 1e-3
"""How exactly each step is solved for, and how small a step, next to theta, ends the search."""


class Choices(NamedTuple):
    """N answers about N differences of features, as intervals between the cut points; see workers/reward/loss.py."""

    low: Integers
    high: Integers


class Curve(NamedTuple):
    """The smoothed loss of every answer for every head, with two derivatives by the difference of scores; [N, M]."""

    nll: Floats
    slope: Floats
    curve: Floats


def curves(delta: Floats, choices: Choices, spacing: Floats, epsilon: float) -> Curve:
    """Return the loss at score differences `delta` [N, M]; `epsilon` of each answer counts for its mirror image."""
    cuts, last = cut_points(spacing), 2 * len(spacing) + 1
    parts = []
    for share, low, high in (
        (1 - epsilon, choices.low, choices.high),
        (epsilon, last - choices.high, last - choices.low),
    ):
        if share:
            s = interval_nll(delta, cuts[low][:, None], cuts[high][:, None])
            parts.append((share * s.nll, share * (s.by_v - s.by_u), share * (s.curve_u + s.curve_v)))
    return Curve(*(np.asarray(sum(one)) for one in zip(*parts, strict=True)))


def fit_many(
    differences: Floats,
    choices: Choices,
    spacing: Floats,
    epsilon: float,
    weight: Floats,
    ridge: Floats,
    start: Floats,
) -> Floats:
    """Return theta [R, M] for differences [N, R], weights [N, M], ridges [M], from `start` [R, M] by Newton's method.

    A head whose step makes things worse takes half of it, so that each ends lower than it began.
    """
    theta = start.copy()
    now = curves(differences @ theta, choices, spacing, epsilon)
    value = _value(now, weight, ridge, theta)
    squares = differences**2
    for _ in range(STEPS):
        gradient = differences.T @ (weight * now.slope) + ridge * theta
        step = _solve(differences, squares, weight * now.curve, ridge, gradient)
        length = np.ones(len(ridge))
        for _ in range(HALVINGS):
            new_theta = theta - length * step
            new = curves(differences @ new_theta, choices, spacing, epsilon)
            new_value = _value(new, weight, ridge, new_theta)
            worse = new_value > value * (1 + 1e-9)
            if not worse.any():
                break
            length[worse] /= 2
        theta, now, value = new_theta, new, new_value
        if (np.linalg.norm(step, axis=0) <= STOP_AT * (np.linalg.norm(theta, axis=0) + 1e-12)).all():
            break
    return theta


def _value(now: Curve, weight: Floats, ridge: Floats, theta: Floats) -> Floats:
    return np.asarray((weight * now.nll).sum(0) + ridge / 2 * (theta**2).sum(0))


def _solve(differences: Floats, squares: Floats, curve: Floats, ridge: Floats, gradient: Floats) -> Floats:
    """Solve every head's Newton system by preconditioned conjugate gradients, all heads in step."""
    diagonal = squares.T @ curve + ridge
    step, residual = np.zeros_like(gradient), gradient.copy()
    scaled = residual / diagonal
    direction = scaled.copy()
    size = first = (residual * scaled).sum(0)
    for _ in range(100):
        if (size <= SOLVE_TO**2 * first).all():
            break
        curved = differences.T @ (curve * (differences @ direction)) + ridge * direction
        along = (direction * curved).sum(0)
        length = np.divide(size, along, out=np.zeros_like(size), where=along > 0)
        step += length * direction
        residual -= length * curved
        scaled = residual / diagonal
        before, size = size, (residual * scaled).sum(0)
        direction = scaled + np.divide(size, before, out=np.zeros_like(size), where=before > 0) * direction
    return step
