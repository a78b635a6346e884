"""Figures are about answers that no head had seen and that nobody asked for twice; surprises are people's own."""

from typing import Any

import numpy as np
import pytest

from tests.workers.reward.snapshots import answer
from tests.workers.reward.test_data import CODEC, FILL
from workers.reward import data
from workers.reward.data import Preferences
from workers.reward.findings import figures, surprises

# Whoever calls puts the interesting answers first; those of FILL prefer the first response of eight more pairs.


def read(*rows: dict[str, Any]) -> Preferences:
    return data.from_table([*rows, *FILL], CODEC, 100)


def metrics_of(found: Preferences, delta: list[float]) -> dict[str, float]:
    """The figures of a head with these score differences, 1 for every other pair, and p = sigmoid(difference)."""
    differences = np.array([*delta, *[1.0] * (len(found.first) - len(delta))])
    return figures(found, differences, 1 / (1 + np.exp(-differences)), np.arange(float(len(found.rows))))


def test_what_was_asked_again_teaches_and_is_not_measured() -> None:
    wrong = answer("p", "one", "two")
    once = metrics_of(read(wrong), [-1.0])
    twice = metrics_of(read(wrong, {**wrong, "purpose": "repeat", "preferred": "b"}), [-1.0])
    # Eight right of nine, whatever the second opinion was.
    for found in (once, twice):
        assert (found["accuracy"], found["n_heldout"]) == (pytest.approx(8 / 9), 9.0)
    assert once["nll"] == twice["nll"]
    assert twice["repeat_agreement"] == 0.0
    assert "ceiling" not in twice


def test_a_model_that_is_too_sure_is_told_its_temperature() -> None:
    # p = 0.731 (delta 1) was right in 8 of 10: sigmoid(1 / T) = 0.8 at 1 / T = ln 4.
    found = metrics_of(read(answer("p", "one", "two"), answer("q", "one", "two")), [-1.0, -1.0])
    assert found["temperature"] == pytest.approx(1 / np.log(4), rel=1e-6)
    assert found["ece_tempered"] == pytest.approx(0.0, abs=1e-6)
    assert found["ece"] == pytest.approx(0.8 - 1 / (1 + np.exp(-1)), abs=1e-6)


def test_thirds_of_the_length_difference_are_those_of_the_measured_answers() -> None:
    found = metrics_of(read(answer("p", "a", "a very long response"), answer("q", "a", "abcdefg")), [-1.0, 1.0])
    assert (found["accuracy_gap_large"], found["n_gap_large"]) == (0.5, 2.0)
    assert (found["accuracy_gap_small"], found["n_gap_small"]) == (1.0, 8.0)


def named(found: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return [(one["comparison"], pytest.approx(one["probability"])) for one in found]


def test_surprises_are_peoples_answers_that_were_thought_unlikely() -> None:
    found = read(
        answer("p", "one", "two", comparison="7"),
        answer("q", "one", "two", comparison="8", preferred="b"),
        answer("r", "one", "two", comparison="9", simulated=True),
        answer("s", "one", "two", "tie", comparison="10"),
    )
    # P(first): 0.3, 0.9, 0.1, 0.1 and 0.8 for the rest: 7 said first (0.3), 8 said second (0.1).
    probability = np.array([0.3, 0.9, 0.1, 0.1, *[0.8] * 8])
    assert named(surprises(found, probability)) == [("8", 0.1), ("7", 0.3)]


def test_what_was_asked_again_once_is_no_surprise_any_more() -> None:
    wrong = answer("p", "one", "two", comparison="7")
    found = read(wrong, {**wrong, "comparison": "8", "purpose": "repeat"}, answer("q", "one", "two", comparison="9"))
    assert named(surprises(found, np.array([0.1, 0.2, *[0.8] * 8]))) == [("9", 0.2)]


def test_the_newest_policys_answers_are_counted_for_themselves() -> None:
    first, second = {"checkpoint_a": "7", "checkpoint_b": None}, {"checkpoint_a": "12", "checkpoint_b": "12"}
    rows = [answer("p", "a", "b", **first), answer("q", "a", "b", **second), answer("r", "a", "b", **second)]
    found = metrics_of(read(*rows), [-1.0, -1.0, 1.0])
    assert (found["latest_accuracy"], found["latest_answers"]) == (0.5, 2.0)
    assert "latest_accuracy" not in metrics_of(read(answer("p", "a", "b")), [-1.0]), "the base model is no policy"
