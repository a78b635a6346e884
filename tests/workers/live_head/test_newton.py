"""Many heads in one go: each is the head that it would be alone."""

import numpy as np
import pytest

from workers.live_head import newton
from workers.live_head.fit import contributions
from workers.live_head.newton import Choices, curves, fit_many
from workers.reward import head
from workers.reward.loss import Outcomes, expand, interval, smooth

BETTER, WORSE = interval(1, 1, 1), interval(-1, 1, 1)


def choices_of(*intervals: tuple[int, int]) -> Choices:
    low, high = np.array(intervals).T
    return Choices(low, high)


def test_one_answer_about_one_feature_by_hand() -> None:
    # log(1 + exp(-theta)) + r / 2 theta^2 is least where 1 / (1 + exp(theta)) = r theta: theta = 1 for r = 0.2689414.
    r = 1 / (1 + np.e)
    weight, ridge = np.array([[1.0, 2.0, 0.0]]), np.array([r, 2 * r, 1.0])
    theta = fit_many(np.ones((1, 1)), choices_of(BETTER), np.zeros(1), 0.0, weight, ridge, np.zeros((1, 3)))
    assert theta[0] == pytest.approx([1.0, 1.0, 0.0], abs=1e-5)
    theta = fit_many(np.ones((1, 1)), choices_of(WORSE), np.zeros(1), 0.0, weight, ridge, np.zeros((1, 3)))
    assert theta[0] == pytest.approx([-1.0, -1.0, 0.0], abs=1e-5)


def test_each_head_is_the_one_that_is_fitted_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newton, "STOP_AT", 1e-7)
    generator = np.random.default_rng(1)
    differences = generator.normal(size=(60, 9)) * np.arange(1, 10)
    signs = np.where(differences @ generator.normal(size=9) > 0, 1, -1)
    choices = choices_of(*(interval(int(sign), 1, 1) for sign in signs))
    weight = generator.poisson(1.0, (60, 4)).astype(np.float64)
    ridge = np.array([0.5, 3.0, 20.0, 100.0])
    together = fit_many(differences, choices, np.zeros(1), 0.05, weight, ridge, np.zeros((9, 4)))
    for column in range(4):
        outcomes = smooth(Outcomes(np.arange(60), choices.low, choices.high, weight[:, column]), 1, 0.05)
        alone = head.fit(differences, outcomes, ridge[column], np.zeros(1))
        assert together[:, column] == pytest.approx(alone.theta, rel=1e-3, abs=1e-5)


def test_a_far_start_leads_to_the_same_place() -> None:
    """From there a whole Newton step goes beyond all bounds; halved ones come back."""
    choices, weight, ridge = choices_of(BETTER, BETTER, WORSE), np.ones((3, 1)), np.array([0.1])
    differences = np.array([[1.0], [2.0], [0.5]])
    near, far = (
        fit_many(differences, choices, np.zeros(1), 0.0, weight, ridge, np.array([[start]])) for start in (0.0, -30.0)
    )
    assert far == pytest.approx(near, rel=1e-3)


def test_the_slopes_are_those_of_the_loss() -> None:
    spacing, epsilon, step = np.array([0.4, 0.8]), 0.05, 1e-6
    choices = choices_of(*(interval(sign, strength, 2) for sign, strength in ((1, 1), (1, 2), (-1, 1), (0, None))))
    delta = np.array([[0.3, -1.0], [2.0, 0.1], [0.7, 0.0], [-0.2, 3.0]])
    now, up, down = (curves(delta + h, choices, spacing, epsilon) for h in (0.0, step, -step))
    assert now.slope == pytest.approx((up.nll - down.nll) / (2 * step), rel=1e-5)
    assert now.curve == pytest.approx((up.slope - down.slope) / (2 * step), rel=1e-5)


def test_what_the_answers_contribute_adds_up_to_the_whole_loss() -> None:
    generator = np.random.default_rng(2)
    spacing = np.array([0.3, 0.9, 0.5])
    said = [(int(sign), int(strength)) for sign, strength in generator.integers((-1, 1), (2, 4), (20, 2))]
    choices = choices_of(*(interval(sign, strength, 3) for sign, strength in said))
    delta = generator.normal(size=20)
    outcomes = smooth(Outcomes(np.arange(20), choices.low, choices.high, np.ones(20)), 3, 0.05)
    whole = expand(delta, spacing, outcomes)
    slopes, curve = contributions(delta, choices, spacing, np.ones(3, dtype=bool))
    assert slopes[:, 0] == pytest.approx(whole.by_delta)
    assert slopes[:, 1:].sum(0) == pytest.approx(whole.by_spacing)
    assert curve[:, 0, 0] == pytest.approx(whole.curve_delta)
    assert curve[:, 0, 1:] == pytest.approx(whole.curve_mixed)
    assert curve[:, 1:, 1:].sum(0) == pytest.approx(whole.curve_spacing)
    fixed, _ = contributions(delta, choices, spacing, np.array([False, True, True]))
    assert fixed == pytest.approx(slopes[:, [0, 2, 3]])
