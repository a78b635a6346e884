"""DPO's formulas against numbers by hand."""

import math

import pytest
import torch

from workers.dpo.loss import choice_loss, implicit_reward, right_share, total_logp

NO_MARGIN = torch.zeros(1)


def loss(lead: float, margin: float = 0.0, epsilon: float = 0.0) -> float:
    return float(choice_loss(torch.tensor([lead]), torch.tensor([margin]), epsilon))


def test_the_implicit_reward_is_what_the_policy_adds_to_the_reference() -> None:
    # 0.1 (-3 + 5) = 0.2: the policy finds it e^2 times as likely as the reference does.
    found = implicit_reward(torch.tensor([-3.0, -4.0]), torch.tensor([-5.0, -4.0]), 0.1)
    torch.testing.assert_close(found, torch.tensor([0.2, 0.0]))


def test_a_fresh_policy_loses_ln_2_whatever_slips_there_are() -> None:
    for epsilon in (0.0, 0.1, 0.4):
        assert loss(0.0, epsilon=epsilon) == pytest.approx(math.log(2))


def test_a_choice_is_a_draw_of_bradley_and_terrys_coin() -> None:
    # sigmoid(ln 3) = 3/4. One in ten is a slip: 0.9 (-ln 3/4) + 0.1 (-ln 1/4).
    assert loss(math.log(3)) == pytest.approx(-math.log(0.75))
    assert loss(math.log(3), epsilon=0.1) == pytest.approx(-0.9 * math.log(0.75) - 0.1 * math.log(0.25))


def test_a_stronger_choice_must_lead_by_more() -> None:
    # A lead of ln 3 with a margin of ln 3 is a coin; as a slip the other one would have led by ln 9 too little: 1/10.
    assert loss(math.log(3), margin=math.log(3)) == pytest.approx(math.log(2))
    assert loss(math.log(3), margin=math.log(3), epsilon=0.5) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(10))


@pytest.mark.parametrize(("epsilon", "slope"), [(0.0, -0.5), (0.1, -0.4)])
def test_the_gradient_pulls_by_how_surprising_the_choice_was(epsilon: float, slope: float) -> None:
    # At a lead of 0 both have probability 1/2: -(1 - eps) / 2 + eps / 2.
    lead = torch.zeros(1, requires_grad=True)
    (gradient,) = torch.autograd.grad(choice_loss(lead, NO_MARGIN, epsilon).sum(), lead)
    assert float(gradient) == pytest.approx(slope)
    # It vanishes where the coin shows as many slips as there are: sigmoid(lead) = 1 - eps.
    if epsilon:
        there = torch.tensor([math.log((1 - epsilon) / epsilon)], requires_grad=True)
        (gradient,) = torch.autograd.grad(choice_loss(there, NO_MARGIN, epsilon).sum(), there)
        assert float(gradient) == pytest.approx(0.0, abs=1e-6)


def test_equal_rewards_are_half_right() -> None:
    assert right_share(torch.tensor([1.0, -1.0, 0.0, 2.0])) == pytest.approx(2.5 / 4)


def test_a_responses_log_probability_counts_its_own_tokens() -> None:
    mask = torch.tensor([[True, True, False], [True, False, False]])
    found = total_logp(torch.tensor([[-1.0, -2.0, math.nan], [-4.0, -8.0, -8.0]]), mask)
    assert found.tolist() == [-3.0, -4.0]
