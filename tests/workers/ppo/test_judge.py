"""Tricks that earn a reward without being better are noticed, and a gain comes with an honest interval."""

from dataclasses import replace
from typing import Any

import pytest

from app.runs.hyper import PpoHyper
from workers.ppo.judge import Judgement, gain, trick
from workers.ppo.train import Progress, acceptable

FIRST = Judgement([0.0], reward=0.0, kl=0.0, length=40.0, eos_rate=0.8, distinct=0.9, texts=[""])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"length": 9.0}, "The answers collapsed to 9 tokens (before: 40)."),
        ({"eos_rate": 0.1}, "Only 10% of the answers come to their end (before: 80%)."),
        ({"distinct": 0.3}, "The answers repeat one phrase for every prompt: 30% of their trigrams differ."),
        ({"length": 11.0, "eos_rate": 0.3, "distinct": 0.6}, None),
    ],
)
def test_a_trick_gets_a_sentence(change: dict[str, Any], sentence: str | None) -> None:
    assert trick(replace(FIRST, **change), FIRST) == sentence


def test_where_answers_rarely_ended_before_it_says_nothing() -> None:
    assert trick(replace(FIRST, eos_rate=0.0), replace(FIRST, eos_rate=0.2)) is None


def test_a_gain_counts_prompts_not_answers() -> None:
    # Two prompts, two answers each, in turn: gains 1 and 3 for prompt 0, 0 and 2 for prompt 1: means 2 and 1.
    # Mean 1.5, spread sqrt(0.5), half width 1.96 * sqrt(0.5) / sqrt(2) = 0.98.
    first, best = replace(FIRST, rewards=[0.0] * 4), replace(FIRST, rewards=[1.0, 0.0, 3.0, 2.0])
    assert gain(best, first, 2) == pytest.approx((1.5, 0.52, 2.48))


def test_a_point_over_the_budget_is_not_kept_and_two_in_a_row_end_the_run() -> None:
    hyper, progress = PpoHyper(), Progress(update=6, best_update=4)
    over = replace(FIRST, kl=6.5)
    assert not acceptable(over, FIRST, hyper, progress)
    assert progress.ended == ""
    assert acceptable(replace(FIRST, kl=5.9), FIRST, hyper, progress)
    assert not acceptable(over, FIRST, hyper, progress)
    assert progress.ended == ""
    assert not acceptable(over, FIRST, hyper, progress)
    assert progress.ended == (
        "The policy stayed 6.5 nats from the base model; the budget is 6. The run went back to update 4."
    )


def test_a_trick_ends_the_run_and_is_not_kept() -> None:
    progress = Progress(update=6, best_update=4)
    assert not acceptable(replace(FIRST, length=3.0), FIRST, PpoHyper(), progress)
    assert progress.ended == "The answers collapsed to 3 tokens (before: 40). The run went back to update 4."
