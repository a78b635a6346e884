"""A gain in reward comes with an honest interval."""

from dataclasses import replace

import pytest

from tests.workers.ppo.test_rollout import PROMPTS, trunk
from tests.workers.ppo.test_update import hyper
from workers.language.model import LanguageModel
from workers.ppo.judge import Judgement, gain, judge
from workers.prompts import Prompt

FIRST = Judgement(rewards=[0.0], reward=0.0, kls=[0.0], length=40.0, eos_rate=0.8, distinct=0.9, texts=[""])


def test_a_gain_counts_prompts_not_answers() -> None:
    # Two prompts, two answers each, in turn: gains 1 and 3 for prompt 0, 0 and 2 for prompt 1: means 2 and 1.
    # Mean 1.5, spread sqrt(0.5), half width 1.96 * sqrt(0.5) / sqrt(2) = 0.98.
    first, best = replace(FIRST, rewards=[0.0] * 4), replace(FIRST, rewards=[1.0, 0.0, 3.0, 2.0])
    assert gain(best, first, 2) == pytest.approx((1.5, 0.52, 2.48))


def test_a_look_reports_the_reward_beside_what_it_cost() -> None:
    found = replace(FIRST, reward=0.5, kls=[1.0, 3.0]).metrics()
    assert (found["reward_heldout"], found["kl_heldout"], found["length_heldout"]) == (0.5, 2.0, 40.0)


@pytest.mark.parametrize("often", [False, True])
def test_the_first_look_says_whether_an_end_is_expected(tiny: LanguageModel, often: bool) -> None:
    # Every second token ends an answer, or every fourteenth, so that few end within four tokens.
    lm = replace(tiny, eos=frozenset(range(0, tiny.model.config.vocab_size, 2 if often else 14)))
    made, asked = trunk(lm, 0, 0.0), [Prompt("", ids, True) for ids in PROMPTS]
    # Turned round, this reward model likes what goes on.
    made = made._replace(reward=replace(made.reward, weights=-made.reward.weights))
    setting = hyper(heldout_answers=64, max_new_tokens=4, score_clip=100.0)
    first, yes, no = (judge(made, asked, setting, 1, expected) for expected in (None, True, False))
    assert (first.eos_rate >= 0.3) == often
    assert yes.rewards != no.rewards
    assert first.rewards == (yes if often else no).rewards
