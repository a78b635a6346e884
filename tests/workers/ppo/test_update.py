"""An update draws every prompt in turn, splits its rows fairly, and learns in the direction of the reward."""

from typing import Any

import pytest
import torch

from app.runs.hyper import PpoHyper
from tests.workers.ppo.test_rollout import rollout, trunk
from workers.language import adapters
from workers.language.adapters import LoraConfig, using
from workers.language.logprobs import response_logprobs
from workers.language.model import LanguageModel
from workers.ppo import math as ppo
from workers.ppo.rollout import POLICY
from workers.ppo.update import advantages_of, check, learn, minibatches_of, prompts_of_update, weaken
from workers.prompts import Prompt

PROMPTS = [Prompt(str(number), [number], False) for number in range(5)]


def hyper(**fields: Any) -> PpoHyper:
    return PpoHyper.from_json({"batch": 4, "minibatches": 1, "warmup_steps": 0, **fields}, "tiny")


def test_every_prompt_comes_once_before_any_comes_twice() -> None:
    updates = [prompts_of_update(PROMPTS, update, hyper(batch=4), seed=1) for update in range(5)]
    assert all(one[0] == one[1] and one[2] == one[3] for one in updates)
    asked = [one[place][0] for one in updates for place in (0, 2)]
    assert sorted(asked[:5]) == sorted(asked[5:]) == [0, 1, 2, 3, 4]
    assert updates == [prompts_of_update(PROMPTS, update, hyper(batch=4), seed=1) for update in range(5)]


def test_minibatches_hold_every_row_once() -> None:
    found = minibatches_of(10, 4, seed=1)
    assert sorted(row for part in found for row in part) == list(range(10))
    assert [len(part) for part in found] == [3, 3, 2, 2]
    assert found != minibatches_of(10, 4, seed=2)


def test_learning_makes_good_tokens_likelier_and_bad_ones_rarer(tiny: LanguageModel) -> None:
    made = trunk(tiny, 0, 0.0)
    _, found = rollout(made)
    # The first answer is good and the others are bad, all their tokens alike.
    worth = torch.tensor([3.0, -1.0, -1.0, -1.0])[:, None] * found.mask
    policy = tiny.adapters[POLICY].parameters()
    optimiser = torch.optim.AdamW(policy, lr=1e-3)
    settings = hyper(learning_rate=1e-3)
    metrics = learn(made, found, worth, [[[0, 1, 2, 3]]], policy, optimiser, settings, 0)
    with torch.no_grad(), using(tiny, POLICY):
        now = response_logprobs(tiny, found.rows)[0]
    change = ((now - found.logp) * found.mask).sum(1)
    assert float((worth * (now - found.logp)).sum()) > 0.1
    assert change[0] > change[1:].max()
    assert metrics["first_ratio"] == 1.0
    assert metrics["steps_skipped"] == 0


def test_the_pace_multiplies_the_step_size(tiny: LanguageModel) -> None:
    changes = []
    for pace in (1.0, 0.5):
        made = trunk(tiny, 0, 0.0)
        _, found = rollout(made)
        policy = tiny.adapters[POLICY].parameters()
        before = [one.detach().clone() for one in policy]
        learn(made, found, found.logp, [[[0, 1, 2, 3]]], policy, torch.optim.SGD(policy), hyper(), 0, pace)
        changes.append(sum(float((one.detach() - old).abs().sum()) for one, old in zip(policy, before, strict=True)))
    assert changes[1] == pytest.approx(changes[0] / 2, rel=1e-3)


def test_splitting_a_step_into_micro_batches_changes_no_gradient(tiny: LanguageModel) -> None:
    gradients = []
    for micros in ([[0, 1, 2, 3]], [[2], [0, 3], [1]]):
        made = trunk(tiny, 1, 0.1)
        _, found = rollout(made, micros)
        policy = tiny.adapters[POLICY].parameters()
        # A step size of nothing leaves the gradients where they are; they are small enough not to be clipped.
        optimiser, worth = torch.optim.SGD(policy, lr=0.0), ppo.whiten(found.logp, found.mask) / 100
        assert learn(made, found, worth, [micros], policy, optimiser, hyper(), 0)["grad_norm"] < 1
        gradients.append([parameter.grad.clone() for parameter in policy if parameter.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-3)


def test_a_step_whose_gradient_is_not_finite_is_left_out(tiny: LanguageModel) -> None:
    made = trunk(tiny, 0, 0.0)
    _, found = rollout(made)
    policy = tiny.adapters[POLICY].parameters()
    before = [parameter.detach().clone() for parameter in policy]
    optimiser = torch.optim.AdamW(policy, lr=1e-2)
    worth = torch.full(found.mask.shape, float("inf"))
    assert learn(made, found, worth, [[[0, 1, 2, 3]]], policy, optimiser, hyper(), 0)["steps_skipped"] == 1
    assert all(torch.equal(one, other) for one, other in zip(before, policy, strict=True))


def test_old_log_probabilities_of_another_policy_are_refused(tiny: LanguageModel) -> None:
    made = trunk(tiny, 0, 0.0)
    _, found = rollout(made)
    policy = tiny.adapters[POLICY].parameters()
    wrong = found._replace(logp=found.logp + 0.01)
    with pytest.raises(RuntimeError, match=r"The first ratios lie 0\.01 from what they must be"):
        learn(made, wrong, found.logp, [[[0, 1, 2, 3]]], policy, torch.optim.SGD(policy), hyper(), 0)


def test_rounding_is_allowed_for_where_numbers_are_rounded() -> None:
    check("It", 0.05, 1e-4, 0.1, torch.bfloat16)
    with pytest.raises(RuntimeError):
        check("It", 0.05, 1e-4, 0.1, torch.float32)
    with pytest.raises(RuntimeError):
        check("It", float("nan"), 1e-4, 0.1, torch.bfloat16)


def test_advantages_are_whitened_and_the_value_head_learns_afterwards(tiny: LanguageModel) -> None:
    made = trunk(tiny, 0, 0.1)
    _, found = rollout(made)
    head = ppo.RidgeValue.fresh(found.seen(), found.mask)
    advantages = advantages_of(found, found.score, hyper(), 0.1, head)
    assert float(advantages.values[found.mask].mean()) == pytest.approx(0.0, abs=1e-5)
    assert advantages.metrics["explained_variance"] == 0.0
    assert advantages_of(found, found.score, hyper(), 0.1, advantages.head).metrics["explained_variance"] > 0.0


def test_an_adapter_made_weaker_adds_so_much_less(tiny: LanguageModel) -> None:
    policy = adapters.create(tiny, POLICY, LoraConfig(4, 8), seed=1)
    for _, b in policy.pairs.values():
        b.data.normal_(std=0.1, generator=torch.Generator().manual_seed(2))
    path, (a, b) = next(iter(policy.pairs.items()))
    before = (b @ a).detach()
    weaken(policy, 0.5)
    assert torch.allclose(policy.pairs[path][1] @ a, before / 2)
    weaken(policy, 0.0)
    with torch.no_grad():
        base, _ = response_logprobs(tiny, [([5, 6], [7, 8])])
        with using(tiny, POLICY):
            assert torch.equal(response_logprobs(tiny, [([5, 6], [7, 8])])[0], base)
