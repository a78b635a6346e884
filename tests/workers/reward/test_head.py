"""The instant head finds the scores and thresholds that made the answers, and its folds never see their own labels."""

import numpy as np
import pytest

from workers.reward import head
from workers.reward.head import cross_validate, fit, fit_all, principal, start_spacing
from workers.reward.loss import Floats, Outcomes, cut_points, expand, smooth


def answers(pairs: int, features: int, seed: int, spacing: Floats) -> tuple[Floats, Outcomes, Floats]:
    """Return feature differences, graded answers by the model itself, and the true weights."""
    rng = np.random.default_rng(seed)
    differences = rng.normal(size=(pairs, features))
    truth = rng.normal(size=features) / features**0.5 * 2
    felt = differences @ truth + rng.logistic(size=pairs)
    low = np.searchsorted(cut_points(spacing), felt) - 1
    return differences, Outcomes(np.arange(pairs), low, low + 1, np.ones(pairs)), truth


def test_principal_coordinates_are_the_same_differences() -> None:
    rng = np.random.default_rng(0)
    for shape in [(5, 12), (12, 5)]:
        differences = rng.normal(size=shape)
        coordinates, axes = principal(differences)
        np.testing.assert_allclose(coordinates @ axes.T, differences, atol=1e-10)


def test_it_recovers_weights_and_thresholds() -> None:
    spacing = np.array([0.6, 1.2, 0.8])
    differences, outcomes, truth = answers(20_000, 4, 1, spacing)
    found = fit(differences, outcomes, 1e-6, start_spacing(outcomes, 3))
    np.testing.assert_allclose(found.theta, truth, atol=0.06)
    np.testing.assert_allclose(found.spacing, spacing, atol=0.06)


def test_no_gradient_is_left_at_the_solution() -> None:
    differences, outcomes, _ = answers(60, 200, 2, np.array([0.5, 1.0]))
    prior = start_spacing(outcomes, 2)
    smoothed = smooth(outcomes, 2, 0.05)
    found = fit_all(differences, outcomes, 0.1, prior, 0.05)
    at = expand(differences @ found.theta, found.spacing, smoothed)
    np.testing.assert_allclose(differences.T @ at.by_delta + 20.0 * found.theta, 0, atol=1e-3)
    np.testing.assert_allclose(at.by_spacing + 1 / prior - 1 / found.spacing, 0, atol=1e-3)


def test_without_ties_the_first_threshold_stays_zero() -> None:
    differences, outcomes, _ = answers(50, 5, 3, np.array([0.0]))
    prior = start_spacing(outcomes, 1)
    assert prior.tolist() == [0.0]
    assert fit(differences, outcomes, 1.0, prior).spacing.tolist() == [0.0]


def test_the_first_threshold_starts_at_the_tie_rate() -> None:
    # 1 tie of 4: 2 atanh(0.25) = 0.510826.
    outcomes = Outcomes(np.arange(4), np.array([0, 1, 2, 2]), np.array([1, 2, 3, 3]), np.ones(4))
    assert start_spacing(outcomes, 1).tolist() == pytest.approx([0.510826], abs=1e-6)


def test_a_fold_never_sees_its_own_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "RIDGES", (1.0,))
    differences, outcomes, _ = answers(80, 30, 4, np.array([0.4]))
    fold = np.arange(80) % 5
    prior = start_spacing(outcomes, 1)
    before = cross_validate(differences, outcomes, fold, prior, 0.05)
    # Turn every answer of fold 0 round: its own predictions must not move, the others' must.
    turned = fold[outcomes.pair] == 0
    low = np.where(turned, 3 - outcomes.high, outcomes.low)
    high = np.where(turned, 3 - outcomes.low, outcomes.high)
    after = cross_validate(differences, Outcomes(outcomes.pair, low, high, outcomes.weight), fold, prior, 0.05)
    np.testing.assert_array_equal(before.delta[fold == 0], after.delta[fold == 0])
    assert not np.allclose(before.delta[fold != 0], after.delta[fold != 0])


def test_the_ridge_is_the_one_that_predicts_unseen_prompts_best() -> None:
    """A weak one where answers follow the features; where they are chance, one that lets nothing through."""
    prior = np.array([0.0])
    differences, outcomes, _ = answers(300, 3, 6, np.array([0.0]))
    assert cross_validate(differences, outcomes, np.arange(300) % 5, prior, 0.0).ridge <= 1.0
    low = np.random.default_rng(7).integers(0, 2, 300) * 2
    chance = Outcomes(np.arange(300), low, low + 1, np.ones(300))
    found = cross_validate(np.random.default_rng(8).normal(size=(300, 40)), chance, np.arange(300) % 5, prior, 0.0)
    assert found.ridge == head.RIDGES[0]
    # Nothing let through is a coin's loss, ln 2.
    assert found.losses[found.ridge] == pytest.approx(np.log(2), abs=0.01)


def test_out_of_fold_predictions_of_pure_noise_are_at_chance() -> None:
    rng = np.random.default_rng(5)
    right = 0
    for _ in range(20):
        differences = rng.normal(size=(40, 100))
        low = rng.integers(0, 2, 40)
        outcomes = Outcomes(np.arange(40), low * 2, low * 2 + 1, np.ones(40))
        found = cross_validate(differences, outcomes, np.arange(40) % 5, np.array([0.0]), 0.05)
        right += int(((found.delta > 0) == (low == 1)).sum())
    # 800 guesses: 400 expected, standard deviation 14.
    assert 350 < right < 450


def test_several_votes_on_one_pair_weigh_as_much_as_they_are() -> None:
    differences = np.array([[1.0], [1.0]])
    twice = Outcomes(np.array([0, 1]), np.array([2, 2]), np.array([3, 3]), np.array([1.0, 1.0]))
    double = Outcomes(np.array([0]), np.array([2]), np.array([3]), np.array([2.0]))
    one = fit(differences, twice, 1.0, np.array([0.0]))
    other = fit(differences, double, 1.0, np.array([0.0]))
    assert one.theta.tolist() == pytest.approx(other.theta.tolist(), rel=1e-6)
    # By hand: theta = 2 sigmoid(-theta) has its solution at 0.6749.
    assert one.theta[0] == pytest.approx(2 / (1 + np.exp(one.theta[0])), rel=1e-6)


def test_several_votes_count_in_the_folds_too() -> None:
    differences, once, _ = answers(60, 5, 9, np.array([0.4]))
    fold, prior = np.arange(60) % 5, start_spacing(once, 1)
    votes = np.arange(60) % 3 + 1
    weighed = cross_validate(differences, once._replace(weight=votes.astype(float)), fold, prior, 0.05)
    repeated = Outcomes(*(np.repeat(column, votes) for column in once))
    counted = cross_validate(differences, repeated, fold, prior, 0.05)
    np.testing.assert_allclose(weighed.delta, counted.delta, rtol=1e-6)
    assert weighed.losses == pytest.approx(counted.losses)
