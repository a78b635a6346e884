"""The likelihood of a graded choice: probabilities by hand, sums of one, derivatives by finite differences."""

import math

import numpy as np
import pytest

from workers.reward.loss import (
    Outcomes,
    cut_points,
    expand,
    interval,
    interval_nll,
    preferred_probability,
    smooth,
)

SPACING = np.array([0.5, 1.0, 0.7])


def probability(delta: float, spacing: np.ndarray, sign: int, strength: int | None) -> float:
    cuts = cut_points(spacing)
    low, high = interval(sign, strength, len(spacing))
    return float(np.exp(-interval_nll(np.array([delta]), cuts[[low]], cuts[[high]]).nll[0]))


def test_cut_points_are_symmetric_sums_of_the_spacings() -> None:
    assert cut_points(np.array([0.5, 1.0])).tolist() == [-math.inf, -1.5, -0.5, 0.5, 1.5, math.inf]


def test_equal_scores_give_rao_and_kupper_by_hand() -> None:
    # One threshold of 0.5: P(a) = sigmoid(-0.5) = 1 / (1 + e^0.5) = 0.37754, P(tie) = tanh(0.25) = 0.24492.
    spacing = np.array([0.5])
    assert probability(0.0, spacing, 1, None) == pytest.approx(0.377541, abs=1e-6)
    assert probability(0.0, spacing, -1, 1) == pytest.approx(0.377541, abs=1e-6)
    assert probability(0.0, spacing, 0, None) == pytest.approx(0.244919, abs=1e-6)


def test_a_tie_has_rao_and_kuppers_probability() -> None:
    eta, delta = 0.8, 1.3
    theta = math.exp(eta)
    a, b = math.exp(delta), 1.0
    expected = a * b * (theta**2 - 1) / ((a + theta * b) * (theta * a + b))
    assert probability(delta, np.array([eta]), 0, None) == pytest.approx(expected, rel=1e-12)


def test_without_a_threshold_it_is_bradley_and_terry() -> None:
    assert probability(1.3, np.array([0.0]), 1, None) == pytest.approx(1 / (1 + math.exp(-1.3)), rel=1e-12)


@pytest.mark.parametrize("delta", [-30.0, -2.0, 0.0, 0.3, 5.0, 30.0])
def test_the_seven_answers_sum_to_one(delta: float) -> None:
    total = sum(probability(delta, SPACING, sign, s) for sign in (-1, 1) for s in (1, 2, 3))
    assert total + probability(delta, SPACING, 0, None) == pytest.approx(1.0, abs=1e-12)
    graded = sum(probability(delta, SPACING, 1, s) for s in (1, 2, 3))
    assert probability(delta, SPACING, 1, None) == pytest.approx(graded, rel=1e-9)


def test_a_strength_beyond_the_last_level_belongs_to_it() -> None:
    assert interval(1, 3, 2) == interval(1, 2, 2) == (4, 5)
    assert interval(-1, 3, 1) == interval(-1, None, 1) == (0, 1)
    assert interval(0, None, 3) == (3, 4)


def test_far_scores_stay_finite() -> None:
    # -log P(b) at a lead of 800 for a is 800 + eta, although P itself is 0 in floating point.
    cuts = cut_points(np.array([0.5]))
    nll = interval_nll(np.array([800.0, -800.0]), cuts[[0, 2]], cuts[[1, 3]]).nll
    assert nll.tolist() == pytest.approx([800.5, 800.5])


def outcomes() -> Outcomes:
    """Every kind of answer, on four pairs, two of them answered more than once."""
    kinds = [(1, 1), (1, 2), (1, 3), (1, None), (0, None), (-1, 1), (-1, 2), (-1, 3), (-1, None)]
    bounds = [interval(sign, strength, 3) for sign, strength in kinds]
    return Outcomes(
        pair=np.array([0, 1, 2, 3, 0, 1, 2, 3, 3]),
        low=np.array([low for low, _ in bounds]),
        high=np.array([high for _, high in bounds]),
        weight=np.array([1.0, 2.0, 0.5, 1.0, 1.0, 3.0, 1.0, 0.2, 1.0]),
    )


def test_the_derivatives_are_those_of_finite_differences() -> None:
    delta = np.array([0.3, -1.2, 2.0, 0.1])
    point = np.concatenate([delta, SPACING])
    at = expand(delta, SPACING, outcomes())
    gradient = np.concatenate([at.by_delta, at.by_spacing])
    curvature = np.block([[np.diag(at.curve_delta), at.curve_mixed], [at.curve_mixed.T, at.curve_spacing]])
    h = 1e-5
    for i in range(len(point)):
        up, down = point.copy(), point.copy()
        up[i] += h
        down[i] -= h
        above, below = expand(up[:4], up[4:], outcomes()), expand(down[:4], down[4:], outcomes())
        assert (above.value - below.value) / (2 * h) == pytest.approx(gradient[i], abs=1e-8)
        slope = np.concatenate([above.by_delta - below.by_delta, above.by_spacing - below.by_spacing]) / (2 * h)
        np.testing.assert_allclose(slope, curvature[i], atol=1e-7)


def test_swapping_the_two_responses_changes_nothing() -> None:
    delta = np.array([0.3, -1.2, 2.0, 0.1])
    forward = outcomes()
    mirrored = Outcomes(forward.pair, 7 - forward.high, 7 - forward.low, forward.weight)
    assert expand(-delta, SPACING, mirrored).value == pytest.approx(expand(delta, SPACING, forward).value, rel=1e-12)


def test_smoothing_gives_the_opposite_answer_its_share() -> None:
    # One answer "a" at delta 2: 0.95 softplus(-2) + 0.05 softplus(2) = 0.95 * 0.126928 + 0.05 * 2.126928.
    one = Outcomes(np.array([0]), np.array([2]), np.array([3]), np.array([1.0]))
    value = expand(np.array([2.0]), np.array([0.0]), smooth(one, 1, 0.05)).value
    assert value == pytest.approx(0.95 * 0.126928 + 0.05 * 2.126928, abs=1e-6)


def test_the_probability_of_a_leaves_ties_out() -> None:
    # At delta 1, threshold 0.5: sigmoid(0.5) / (sigmoid(0.5) + sigmoid(-1.5)) = 0.62246 / (0.62246 + 0.18243).
    found = preferred_probability(np.array([1.0, 0.0]), np.array([0.5]))
    assert found.tolist() == pytest.approx([0.773351, 0.5], abs=1e-5)
