"""The demo's figures, on answers small enough to count by hand."""

import math

import pytest

from app.simulation.gold import RULES
from demo.measure import Sampled, describe, distinct, win_rate

WARM = RULES["warm"]


def said(*texts: str, ended: bool = True) -> list[Sampled]:
    return [Sampled(text, ended) for text in texts]


def test_distinct_2_counts_different_word_pairs() -> None:
    assert distinct(["a b c"]) == 1.0
    assert distinct(["a b a b a b"]) == pytest.approx(2 / 5)
    assert distinct(["so so so", "so so"]) == pytest.approx(1 / 3), "two pairs in the first text, one in the second"
    assert distinct(["word", ""]) == 1.0


def test_the_description_of_answers() -> None:
    figures = describe({"p": said("happy friend", "x x x x", ended=False), "q": said("kind words")}, WARM)
    assert figures.answers == 3
    assert figures.gold == pytest.approx((2 + 0 + 1) / 3)
    assert figures.words == pytest.approx(8 / 3)
    assert figures.words_spread == pytest.approx(math.sqrt(8 / 9))
    assert figures.ended == pytest.approx(1 / 3)
    assert figures.distinct_2 == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert figures.distinct_2_together == pytest.approx(3 / 5)


def test_the_win_rate_has_the_prompt_as_its_unit() -> None:
    before = {str(n): said("nothing", "nothing") for n in range(40)}
    after = {str(n): said(*(("happy", "kind") if n < 30 else ("nothing", "nothing"))) for n in range(40)}
    won = win_rate(after, before, WARM)
    assert won.rate == pytest.approx((30 + 10 * 0.5) / 40)
    assert (won.prompts, won.pairings) == (40, 160)
    # Wilson's interval of 35 in 40, not of 140 in 160.
    assert (won.wilson_low, won.wilson_high) == pytest.approx((0.7389, 0.9454), abs=1e-4)
    assert won.cluster_low < won.rate < won.cluster_high
    same = win_rate(before, before, WARM)
    assert (same.rate, same.cluster_low, same.cluster_high) == (0.5, 0.5, 0.5)
