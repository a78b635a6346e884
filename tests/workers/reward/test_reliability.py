"""Who agrees with the others counts more than who guesses; one's own answers never speak for oneself."""

import numpy as np
import pytest

from workers.reward.reliability import reliability


def test_a_weight_is_twice_the_agreement_less_one() -> None:
    # Pair 0: a b and c say 1, d says -1. Pair 1: a, b and d say -1, c says 1. Pairs 2 and 3: all four say 1.
    # a and b agree with the majority of the others in 4 of 4; c and d in 3 of 4: 2 * 3/4 - 1 = 0.5.
    pair = np.repeat(np.arange(4), 4)
    sign = np.array([1, 1, 1, -1, -1, -1, 1, -1, *[1] * 8])
    assert reliability(pair, sign, list("abcd") * 4) == pytest.approx({"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.5})


def test_who_always_disagrees_still_counts_a_fifth() -> None:
    found = reliability(np.array([0, 0, 0]), np.array([1, 1, -1]), ["a", "b", "c"])
    # The others of a are b (1) and c (-1): no consensus, so nothing is known of a or b.
    assert found == {"c": 0.2}


def test_one_never_agrees_with_oneself() -> None:
    # alice answered pair 0 three times, bob once and otherwise: for her the others are bob alone.
    found = reliability(np.zeros(4, np.int64), np.array([1, 1, 1, -1]), ["alice", "alice", "alice", "bob"])
    assert found == {"alice": 0.2, "bob": 0.2}
    assert reliability(np.zeros(2, np.int64), np.array([1, 1]), ["alice", "alice"]) == {}


def test_a_tie_is_no_preference_and_nobody_is_no_annotator() -> None:
    pair, sign = np.array([0, 0, 1, 1]), np.array([0, 1, 1, -1])
    assert reliability(pair, sign, ["a", "b", "c", None]) == {"c": 0.2}
