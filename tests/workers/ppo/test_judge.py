"""A gain in reward comes with an honest interval."""

from dataclasses import replace

import pytest

from workers.ppo.judge import Judgement, gain

FIRST = Judgement(rewards=[0.0], reward=0.0, kls=[0.0], length=40.0, eos_rate=0.8, distinct=0.9, texts=[""])


def test_a_gain_counts_prompts_not_answers() -> None:
    # Two prompts, two answers each, in turn: gains 1 and 3 for prompt 0, 0 and 2 for prompt 1: means 2 and 1.
    # Mean 1.5, spread sqrt(0.5), half width 1.96 * sqrt(0.5) / sqrt(2) = 0.98.
    first, best = replace(FIRST, rewards=[0.0] * 4), replace(FIRST, rewards=[1.0, 0.0, 3.0, 2.0])
    assert gain(best, first, 2) == pytest.approx((1.5, 0.52, 2.48))


def test_a_look_reports_the_reward_beside_what_it_cost() -> None:
    found = replace(FIRST, reward=0.5, kls=[1.0, 3.0]).metrics()
    assert (found["reward_heldout"], found["kl_heldout"], found["length_heldout"]) == (0.5, 2.0, 40.0)
