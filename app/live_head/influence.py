"""What a score would be without some of the answers: one Newton step from the fitted point, in closed form.

The fitted parameters phi = (theta [F], thresholds [K]) minimise a sum of terms, one per answer, that see phi through
1 + K numbers, y_n = A_n phi: the answer's difference of scores and the thresholds. With the term's slopes g_n and
curvature C_n by y_n, and H the curvature of the whole, leaving answer n out moves phi by one Newton step of

    (H - A_n' C_n A_n)^-1 A_n' g_n  =  H^-1 A_n' (I - C_n A_n H^-1 A_n')^-1 g_n

(the infinitesimal jackknife with its curvature corrected, Giordano et al. 2019, arXiv:1806.00550; the right side is the
Woodbury identity, and for a linear model it is the textbook leave-one-out formula). A score is linear in theta.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


class Terms(NamedTuple):
    """The answers' part of the loss: `differences` [N, F] of features, `slopes` [N, 1 + K], `curves` [N, 1 + K, 1 + K].

    `ridge` is the curvature of theta without any answer, `prior` [K] that of the thresholds.
    """

    differences: Floats
    slopes: Floats
    curves: Floats
    ridge: float
    prior: Floats


def spanned(terms: Terms, features: Floats) -> tuple[Terms, Floats]:
    """Return the same with as many dimensions as there are answers, if these are fewer than the features [F].

    What lies outside the span of the differences is moved by no answer.
    """
    if len(terms.differences) >= terms.differences.shape[1]:
        return terms, features
    axes, coordinates = np.linalg.qr(terms.differences.T)
    return terms._replace(differences=coordinates.T), axes.T @ features


def without_each(terms: Terms, features: Floats) -> Floats:
    """Return by how much the score of standardised `features` [F] rises if each answer were left out alone, [N]."""
    count, size = terms.differences.shape
    inverse = np.linalg.inv(_curvature(terms))
    moved = terms.differences @ inverse[:size]  # each row is A_n H^-1 of the difference of scores
    score = features @ inverse[:size]
    through = np.empty((count, terms.slopes.shape[1]))
    through[:, 0], through[:, 1:] = terms.differences @ score[:size], score[size:]
    seen = np.empty_like(terms.curves, dtype=np.float64)  # A_n H^-1 A_n'
    seen[:, 0, 0] = (moved[:, :size] * terms.differences).sum(1)
    seen[:, 0, 1:] = seen[:, 1:, 0] = moved[:, size:]
    seen[:, 1:, 1:] = inverse[size:, size:]
    step = np.linalg.solve(np.eye(through.shape[1]) - terms.curves @ seen, terms.slopes[:, :, None])[:, :, 0]
    return np.asarray((through * step).sum(1))


def without(terms: Terms, features: Floats, left_out: NDArray[np.bool_]) -> float:
    """Return by how much the score rises if all answers of `left_out` (bool [N]) were left out together."""
    size = terms.differences.shape[1]
    kept = terms._replace(
        differences=terms.differences[~left_out], slopes=terms.slopes[~left_out], curves=terms.curves[~left_out]
    )
    slopes = terms.slopes[left_out]
    gradient = np.concatenate([terms.differences[left_out].T @ slopes[:, 0], slopes[:, 1:].sum(0)])
    return float(features @ np.linalg.solve(_curvature(kept), gradient)[:size])


def _curvature(terms: Terms) -> Floats:
    """The second derivative of the whole loss, [F + K, F + K]."""
    differences, curves = terms.differences, terms.curves
    theta = (differences.T * curves[:, 0, 0]) @ differences + terms.ridge * np.eye(differences.shape[1])
    mixed = differences.T @ curves[:, 0, 1:]
    return np.block([[theta, mixed], [mixed.T, curves[:, 1:, 1:].sum(0) + np.diag(terms.prior)]])
