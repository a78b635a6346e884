"""PPO's formulas against numbers by hand and against their definitions, written independently."""

import itertools
import math
import random

import pytest
import torch

from workers.ppo import math as ppo

MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_the_score_lands_on_the_last_real_token() -> None:
    k1 = torch.tensor([[0.5, -0.25, 1.0], [2.0, 7.0, 7.0]])
    found = ppo.token_rewards(torch.tensor([3.0, -1.0]), k1, MASK, beta=0.1)
    # Row 0: -0.05, 0.025, -0.1 + 3; row 1 has one token: -0.2 - 1, and nothing where there is no token.
    expected = torch.tensor([[-0.05, 0.025, 2.9], [-1.2, 0.0, 0.0]])
    torch.testing.assert_close(found, expected)


def test_one_tokens_kl_is_clamped() -> None:
    found = ppo.token_rewards(torch.zeros(1), torch.tensor([[50.0, -50.0]]), torch.ones(1, 2, dtype=torch.bool), 0.1)
    torch.testing.assert_close(found, torch.tensor([[-1.0, 1.0]]))


@pytest.mark.parametrize(("gamma", "lam"), [(0.9, 0.8), (1.0, 0.95), (1.0, 0.0), (1.0, 1.0)])
def test_gae_is_its_definition(gamma: float, lam: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 40, 9, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, 10, (40,), generator=generator).tolist()
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    found = ppo.gae(rewards, values, mask, lam, gamma)
    for row, length in enumerate(lengths):
        value = [*values[row, :length].tolist(), 0.0]
        reward = rewards[row].tolist()
        for t in range(9):
            expected = 0.0
            for k in range(t, length):
                expected += (gamma * lam) ** (k - t) * (reward[k] + gamma * value[k + 1] - value[k])
            assert float(found[row, t]) == pytest.approx(expected if t < length else 0.0, abs=1e-12)
    if lam == 1:
        torch.testing.assert_close(found, (ppo.returns(rewards, mask) - values).masked_fill(~mask, 0.0))


def test_gae_by_hand() -> None:
    # Reward 1 at the end, values 0.5, lambda 0.5: deltas 0, 0, 0.5, so advantages 0.125, 0.25, 0.5.
    found = ppo.gae(torch.tensor([[0.0, 0.0, 1.0]]), torch.full((1, 3), 0.5), torch.ones(1, 3, dtype=torch.bool), 0.5)
    torch.testing.assert_close(found, torch.tensor([[0.125, 0.25, 0.5]]))


def test_each_answer_is_measured_by_the_others_to_its_prompt() -> None:
    # 1, 2, 6: the others' means are 4, 3.5 and 1.5. To the second prompt all are alike.
    found = ppo.rloo(torch.tensor([1.0, 2.0, 6.0, 5.0, 5.0, 5.0]), 3)
    torch.testing.assert_close(found, torch.tensor([-3.0, -1.5, 4.5, 0.0, 0.0, 0.0]))
    # Of two answers each is measured by the other one.
    assert ppo.rloo(torch.tensor([1.0, 4.0]), 2).tolist() == [-3.0, 3.0]


def test_returns_are_the_rewards_still_to_come() -> None:
    found = ppo.returns(torch.tensor([[1.0, 2.0, 3.0], [4.0, 9.0, 9.0]]), MASK)
    torch.testing.assert_close(found, torch.tensor([[6.0, 5.0, 3.0], [4.0, 0.0, 0.0]]))


def test_whitening_has_mean_0_and_variance_1_over_the_mask_alone() -> None:
    values = torch.randn(2, 3, generator=torch.Generator().manual_seed(1)) * 5 + 3
    values[~MASK] = 1e6
    found = ppo.whiten(values, MASK)
    assert float(found[MASK].mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(found[MASK].var(correction=0)) == pytest.approx(1.0, abs=1e-6)
    assert found[~MASK].tolist() == [0.0, 0.0]
    # Of 1, 2, 3, 2: mean 2, variance 0.5.
    by_hand = ppo.whiten(torch.tensor([[1.0, 2.0, 3.0], [2.0, 0.0, 0.0]]), MASK)
    torch.testing.assert_close(by_hand[0], torch.tensor([-1.0, 0.0, 1.0]) / math.sqrt(0.5))


def test_both_kl_estimators_have_the_kl_as_their_mean() -> None:
    # Over a whole distribution: sum p log(p / q) = 0.5 ln 2 + 0.25 ln 0.5 = 0.25 ln 2.
    p, q = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.5, 0.25])
    mask = torch.ones(1, 3, dtype=torch.bool)
    k1 = ppo.kl_k1(p.log()[None], q.log()[None], mask)
    k3 = ppo.kl_k3(p.log()[None], q.log()[None], mask)
    assert float((k1 * p).sum()) == pytest.approx(0.25 * math.log(2), abs=1e-6)
    assert float((k3 * p).sum()) == pytest.approx(0.25 * math.log(2), abs=1e-6)
    assert (k3 >= 0).all()


def test_places_without_a_token_have_no_kl() -> None:
    logp, reference = torch.full((2, 3), -1.0), torch.full((2, 3), -3.0)
    assert ppo.kl_k1(logp, reference, MASK).tolist() == [[2.0, 2.0, 2.0], [2.0, 0.0, 0.0]]
    assert (ppo.kl_k3(logp, reference, MASK) != 0).tolist() == MASK.tolist()


def test_a_token_that_became_impossible_leaves_everything_finite() -> None:
    there, far = torch.zeros(1, 1), torch.full((1, 1), -500.0)
    mask = torch.ones(1, 1, dtype=torch.bool)
    # e^20 = 4.85e8: the log-ratio counts as 20.
    assert float(ppo.kl_k3(far, there, mask)) == pytest.approx(math.exp(20) - 1 - 20, rel=1e-6)
    assert float(ppo.policy_loss(there, far, -there - 1, mask, 0.2, 1).loss) == pytest.approx(math.exp(20), rel=1e-6)


def test_the_clipped_loss_by_hand() -> None:
    # Ratios 1.5, 0.5, 1.1 with advantages 2, -1, 3, clip 0.2: min(3, 2.4), min(-0.5, -0.8), 3.3; over 4 tokens.
    logp = torch.tensor([[1.5, 0.5, 1.1, 9.0]]).log()
    advantages = torch.tensor([[2.0, -1.0, 3.0, 5.0]])
    mask = torch.tensor([[True, True, True, False]])
    found = ppo.policy_loss(logp, torch.zeros(1, 4), advantages, mask, 0.2, tokens=4)
    assert float(found.loss) == pytest.approx(-(2.4 - 0.8 + 3.3) / 4, abs=1e-6)
    assert int(found.clipped) == 2
    assert float(found.ratio_max) == pytest.approx(0.5, abs=1e-6)


def test_a_clipped_token_and_a_masked_token_have_no_gradient() -> None:
    logp = torch.tensor([[math.log(1.5), 0.0, 0.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    loss = ppo.policy_loss(logp, torch.zeros(1, 3), torch.full((1, 3), 2.0), mask, 0.2, tokens=2).loss
    (gradient,) = torch.autograd.grad(loss, logp)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, -1.0, 0.0]]))


def test_splitting_a_step_into_micro_batches_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    logp, old, advantages = torch.randn(3, 6, 5, generator=generator) * 0.1
    mask = torch.arange(5) < torch.tensor([5, 1, 3, 2, 5, 4])[:, None]
    whole = ppo.policy_loss(logp, old, advantages, mask, 0.2, tokens=20).loss
    parts = sum(
        float(ppo.policy_loss(logp[b], old[b], advantages[b], mask[b], 0.2, tokens=20).loss)
        for b in (slice(0, 2), slice(2, 6))
    )
    assert parts == pytest.approx(float(whole), abs=1e-6)


def test_explained_variance_is_1_for_the_truth_and_0_for_the_mean() -> None:
    targets = torch.tensor([[1.0, 2.0, 3.0], [2.0, 99.0, 99.0]])
    assert ppo.explained_variance(targets, targets, MASK) == pytest.approx(1.0)
    assert ppo.explained_variance(torch.full((2, 3), 2.0), targets, MASK) == pytest.approx(0.0)
    # Errors -1, 0, 1, 0 round the truth: variance 0.5 of 0.5 left over.
    assert ppo.explained_variance(torch.full((2, 3), 7.0), targets, MASK) == pytest.approx(0.0)


def test_entropy_is_minus_the_mean_log_probability() -> None:
    assert ppo.entropy_estimate(torch.tensor([[-1.0, -2.0, -3.0], [-4.0, 5.0, 5.0]]), MASK) == pytest.approx(2.5)


def test_the_value_head_is_ridge_regression_and_judges_before_it_learns() -> None:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(40, 30, 4, generator=generator)
    mask = torch.ones(40, 30, dtype=torch.bool)
    targets = hidden @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 3
    head = ppo.RidgeValue.fresh(hidden, mask)
    assert head.predict(hidden, mask).abs().max() == 0
    for _ in range(12):
        head = head.learn(hidden, targets, mask)
    # 1,200 tokens weighted 1 + 0.8 + ... = 4.66 times against a ridge of 500: 8 % shrinkage.
    assert ppo.explained_variance(head.predict(hidden, mask), targets, mask) > 0.98
    assert head.scale.tolist() == pytest.approx([one + 1e-3 for one in hidden.view(-1, 4).std(0).tolist()])
    # Scaled features, a constant, and the position in 30: -1, -14/15, … 14/15.
    x = torch.cat(
        [hidden / head.scale, torch.ones(40, 30, 1), torch.arange(-1, 1, 1 / 15).expand(40, 30)[..., None]], 2
    )
    x = x.view(-1, 6).double()
    memory = sum(0.8**k for k in range(12))
    expected = torch.linalg.solve(memory * x.T @ x + 500 * torch.eye(6), memory * x.T @ targets[mask].double())
    torch.testing.assert_close(head.weights, expected)


def drift(controller: ppo.KlController, pull: float, step: float, noise: float, horizon: int = 0) -> list[float]:
    """A policy at distance d from the base model (KL = d^2 / 2) that walks `step` per update towards its optimum.

    Adam and whitened advantages make the length of the step independent of the size of the gradient, which is the
    pull of the reward minus the price times the distance, in noise. So it runs away until the price is right. With a
    `horizon` in episodes the price is steered as Ziegler et al. (2019) do it, by 64 episodes per update.
    """
    generator = random.Random(0)
    distance, kls, pace = 0.0, [], ppo.Pace.at(0.0)
    for _ in range(20):
        kl = distance**2 / 2
        kls.append(kl)
        measured = kl * (1 + generator.gauss(0, 0.08))
        pace = pace.update(measured, 6.0, 20)
        if horizon:
            error = max(-0.2, min(0.2, measured / 6 - 1))
            controller = controller._replace(beta=controller.beta * (1 + error * 64 / horizon))
        else:
            controller = controller.update(measured, 6.0)
        for _ in range(4):
            slope = pull - controller.beta * distance
            distance = max(0.0, distance + pace.factor * step / 4 * slope / math.hypot(slope, noise))
    return kls


@pytest.mark.parametrize(("pull", "step"), [*itertools.product((0.5, 1.5), (0.4, 0.7))])
def test_the_controller_holds_its_target_where_the_usual_one_runs_away(pull: float, step: float) -> None:
    def holds(kls: list[float]) -> bool:
        return max(kls) < 8 and 2.0 < sum(kls[12:17]) / 5 < 7 and max(kls[14:]) < 7.2

    assert holds(drift(ppo.KlController(0.05), pull, step, 0.3))
    for horizon in (1_000, 10_000):
        usual = drift(ppo.KlController(0.05), pull, step, 0.3, horizon)
        assert not holds(usual)
        assert max(usual) > 9


def test_the_controllers_first_step_by_hand() -> None:
    # KL 3 after 0: speed (0 + 3 - 0) / 2 = 1.5, forecast 3 + 4 * 1.5 = 9 = 1.5 targets, so beta * exp(1.2 * 0.5).
    after = ppo.KlController(0.05).update(3.0, 6.0)
    assert after.beta == pytest.approx(0.05 * math.exp(0.6))
    assert after.speed == pytest.approx(1.5)
    # One nat more: speed (1.5 + 4 - 3) / 2 = 1.25, forecast 4 + 4 * 1.25 = 9 again.
    assert after.update(4.0, 6.0).speed == pytest.approx(1.25)
    assert after.update(4.0, 6.0).beta == pytest.approx(after.beta * math.exp(0.6))
    # However far off: by a factor of e^1.2 up, and of e^-0.2 down, at most.
    assert ppo.KlController(0.05, 90.0, 0.0).update(90.0, 6.0).beta == pytest.approx(0.05 * math.exp(1.2))
    assert ppo.KlController(0.05, 9.0, 0.0).update(0.0, 6.0).beta == pytest.approx(0.05 * math.exp(-0.2))
    # Standing still at 3, half the target: beta * exp(-0.2 * 0.5).
    assert ppo.KlController(0.05, 3.0, 0.0).update(3.0, 6.0).beta == pytest.approx(0.05 * math.exp(-0.1))


def test_the_price_stays_in_its_range() -> None:
    controller = ppo.KlController(0.05)
    for _ in range(60):
        controller = controller.update(100.0, 6.0)
    assert controller.beta == 2.0
    for _ in range(500):
        controller = controller.update(0.0, 6.0)
    assert controller.beta == 0.005


def test_a_price_of_nothing_stays_nothing() -> None:
    assert ppo.KlController(0.0).update(3.0, 6.0).beta == 0.0


def test_an_answer_without_an_end_earns_what_others_do_less_the_penalty() -> None:
    scores, ended = torch.tensor([0.0, 1.0, 3.0, 5.0]), torch.tensor([True, True, False, False])
    # With an end 0.5 on average, without one 4: charged 3.5 and the penalty, they earn -0.5 on average.
    assert ppo.end_charge(scores, ended, 1.0) == 4.5
    # Where they score less anyhow, the penalty is all that is taken off.
    assert ppo.end_charge(-scores, ended, 1.0) == 1.0
    assert ppo.end_charge(scores, torch.ones(4, dtype=torch.bool), 1.0) == 1.0
    assert ppo.end_charge(scores, torch.zeros(4, dtype=torch.bool), 1.0) == 1.0
    assert ppo.end_charge(scores, ended, 0.0) == 0.0, "without a penalty nobody asks for an end"


def test_a_leash_pulls_only_what_is_beyond_the_target() -> None:
    assert ppo.leash(5.0, 5.0) == ppo.leash(0.1, 5.0) == ppo.leash(-0.2, 5.0) == 1.0
    assert ppo.leash(80.0, 5.0) == pytest.approx(0.5)  # the fourth root of a sixteenth


def test_a_policy_is_drawn_in_by_a_root_of_what_it_may_move() -> None:
    assert ppo.drawn_in(8.0, 0.0, 1.0, 3) == pytest.approx(0.5)  # the third root of an eighth
    assert ppo.drawn_in(6.0, 2.0, 3.0, 1) == pytest.approx(0.25)  # one nat of four from where it started
    assert ppo.drawn_in(7.0, 6.0, 5.7, 6) == 0.0  # it started beyond what is wanted


def test_a_policy_walks_to_its_target_at_an_even_pace() -> None:
    """8 nats are a distance of 4; in 10 updates of which a straight walk takes half, one may go 0.8."""
    at = ppo.Pace.at
    assert at(0.0) == ppo.Pace(1.0, 0.0)
    assert at(8.0) == ppo.Pace(1.0, 4.0)
    assert at(-0.1) == ppo.Pace(1.0, 0.0), "an estimate may fall below 0"
    # From distance 2 to 3, a quarter too far; to 2.5, not too far and past half-way; to 5, more than twice too far.
    assert at(2.0).update(4.5, 8.0, 10) == (pytest.approx(0.8), 3.0)
    assert at(2.0).update(3.125, 8.0, 10) == (1.0, 2.5)
    assert at(2.0).update(12.5, 8.0, 10) == (0.5, 5.0)
    assert ppo.Pace(0.6, 2.0).update(3.125, 8.0, 10) == (0.6, 2.5), "past half-way nothing is sped up"
    # Not half-way there and slow: faster by a quarter, up to the step size that was set.
    assert ppo.Pace(0.6, 0.5).update(0.5, 8.0, 10) == (pytest.approx(0.75), 1.0)
    assert at(0.5).update(0.5, 8.0, 10).factor == 1.0
    assert ppo.Pace(0.03, 0.0).update(50.0, 8.0, 10).factor == 0.02, "it never stands still"


def test_one_phrase_for_every_prompt_is_noticed() -> None:
    assert ppo.distinct_share([[1, 2, 3, 4], [5, 6, 7]]) == 1.0
    # Two trigrams each, the same: 2 different of 6.
    assert ppo.distinct_share([[1, 2, 3, 4]] * 3) == pytest.approx(1 / 3)
    assert ppo.distinct_share([[1, 2, 3], [1, 2, 3]]) == 0.5
    assert ppo.distinct_share([[1], [2]]) == 1.0
