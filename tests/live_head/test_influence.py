"""The score without an answer is what a head says that was never taught it: heads are fitted anew and compared."""

import numpy as np
import pytest

from app.live_head.influence import Terms, spanned, without, without_each
from workers.live_head.fit import SMOOTHING, contributions
from workers.live_head.newton import Choices
from workers.reward import head
from workers.reward.head import Fit
from workers.reward.loss import Floats, Outcomes, interval, smooth

RIDGE = 20.0


class Scene:
    """Answers with ties and two strengths about random differences, and the head that was fitted to them."""

    def __init__(self, count: int = 80, features: int = 12) -> None:
        generator = np.random.default_rng(5)
        self.differences = generator.normal(size=(count, features))
        perceived = self.differences @ generator.normal(size=features) + generator.logistic(size=count)
        sign = np.where(np.abs(perceived) < 0.7, 0, np.sign(perceived)).astype(int)
        strength = np.where(np.abs(perceived) > 2.5, 2, 1)
        low, high = np.array([interval(int(s), int(k), 2) for s, k in zip(sign, strength, strict=True)]).T
        self.choices = Choices(low, high)
        self.prior = head.start_spacing(Outcomes(np.arange(count), low, high, np.ones(count)), 2)
        self.features = generator.normal(size=features)
        self.fit = self.refit(np.zeros(count, dtype=bool))
        free = self.prior > 0
        slopes, curves = contributions(self.differences @ self.fit.theta, self.choices, self.fit.spacing, free)
        prior = 1 / self.fit.spacing[free] ** 2
        self.terms = Terms(self.differences, slopes, curves, RIDGE, prior)

    def outcomes(self, left_out: np.ndarray) -> Outcomes:
        rows = np.flatnonzero(~left_out)
        said = Outcomes(rows, self.choices.low[rows], self.choices.high[rows], np.ones(len(rows)))
        return smooth(said, 2, SMOOTHING)

    def refit(self, left_out: np.ndarray) -> Fit:
        return head.fit(self.differences, self.outcomes(left_out), RIDGE, self.prior)

    def change(self, theta: Floats) -> float:
        return float(self.features @ (theta - self.fit.theta))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def alone(scene: Scene, row: int) -> np.ndarray:
    return np.arange(len(scene.differences)) == row


def test_it_is_newton_s_step_from_the_fitted_point(scene: Scene) -> None:
    """Against the step that the trainer itself would take, by conjugate gradients, on the loss without the answer."""
    changes = without_each(scene.terms, scene.features)
    # Conjugate gradients and the fit itself stop a little early.
    close = 1e-3 * np.abs(changes).max()
    for row in range(0, 80, 7):
        step, _ = head._newton_step(scene.differences, scene.outcomes(alone(scene, row)), RIDGE, scene.prior, scene.fit)
        assert changes[row] == pytest.approx(scene.change(scene.fit.theta - step.theta), abs=close)


def test_it_is_what_a_refit_without_the_answer_says(scene: Scene) -> None:
    changes = without_each(scene.terms, scene.features)
    refitted = np.array([scene.change(scene.refit(alone(scene, row)).theta) for row in range(80)])
    assert np.abs(changes - refitted).max() < 0.05 * np.abs(refitted).max()
    most = set(np.argsort(-np.abs(refitted))[:5])
    assert most == set(np.argsort(-np.abs(changes))[:5])


def test_several_left_out_together_are_what_a_refit_without_them_says(scene: Scene) -> None:
    one = without(scene.terms, scene.features, alone(scene, 3))
    assert one == pytest.approx(float(without_each(scene.terms, scene.features)[3]))
    out = np.isin(np.arange(80), [3, 10, 11, 40])
    assert without(scene.terms, scene.features, out) == pytest.approx(scene.change(scene.refit(out).theta), rel=0.1)


def test_fewer_answers_than_features_are_no_different() -> None:
    scene = Scene(count=15, features=40)
    small, along = spanned(scene.terms, scene.features)
    assert small.differences.shape == (15, 15)
    assert without_each(small, along) == pytest.approx(without_each(scene.terms, scene.features))


def test_one_answer_about_one_feature_by_hand() -> None:
    # A single answer with slope -0.2 and curvature 0.1 on a ridge of 2: H = 0.1 + 2; without it H = 2 and the step is
    # -0.2 / 2 = -0.1, which for a feature of 3 lowers the score by 0.3.
    terms = Terms(np.ones((1, 1)), np.array([[-0.2]]), np.array([[[0.1]]]), 2.0, np.zeros(0))
    assert without_each(terms, np.array([3.0])) == pytest.approx([-0.3])
    assert without(terms, np.array([3.0]), np.array([True])) == pytest.approx(-0.3)
