"""PPO's own functions find the optimum that is known in closed form: the base model times exp(reward / beta).

That is the policy with the most of E[reward] - beta * KL(policy | base); every sign, every place where a score or a
price of KL is put, and every mask has to be right for the policy to end there.
"""

import pytest
import torch
from torch import Tensor

from app.runs.hyper import PpoHyper
from tests.workers.ppo.test_rollout import trunk
from workers.language.adapters import using
from workers.language.model import LanguageModel
from workers.policy import POLICY
from workers.ppo import math as ppo
from workers.ppo.rollout import draw, look_at
from workers.ppo.update import advantages_of, learn

END = 2
# Answers of a small language: the first token is 0, 1 or END; after 0 and 1 comes one more of three, always the last.
ANSWERS = [(END,), *((first, second) for first in (0, 1) for second in (0, 1, 2))]
REWARD = torch.tensor([0.3, 1.0, -0.5, 0.0, -1.0, 0.2, 0.8])
BASE = [torch.tensor([0.5, -0.3, 0.1]), torch.tensor([[0.0, 0.8, -0.4], [0.3, -0.2, 0.6]])]
BETA = 0.4


def total_variation(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().sum() / 2)


def answer_logp(weights: list[Tensor]) -> Tensor:
    """Log-probability of each token of each answer, [7, 2]; 0 where an answer has no second token."""
    first, second = weights[0].log_softmax(-1), weights[1].log_softmax(-1)
    rows = [[first[one[0]], second[one[0], one[1]] if len(one) > 1 else torch.tensor(0.0)] for one in ANSWERS]
    return torch.stack([torch.stack(row) for row in rows])


def expected_values(logp: Tensor, rewards: Tensor) -> Tensor:
    """The exact value before each token, [7, 2], if the answers have rewards [7, 2] per token."""
    share, whole = logp.sum(1).exp(), rewards.sum(1)
    values = torch.full((7, 2), float(share @ whole))
    for rows in (slice(1, 4), slice(4, 7)):
        values[rows, 1] = share[rows] @ rewards[rows, 1] / share[rows].sum()
    return values


@pytest.mark.parametrize("lam", [0.0, 0.95, 1.0, None], ids=["gae 0", "gae 0.95", "gae 1", "rloo"])
def test_answers_of_one_and_two_tokens_reach_the_optimum(lam: float | None) -> None:
    base = answer_logp(BASE)
    mask = torch.tensor([[True, len(answer) > 1] for answer in ANSWERS])
    optimum = (base.sum(1) + REWARD / BETA).softmax(0)
    weights = [one.clone().requires_grad_() for one in BASE]
    generator = torch.Generator().manual_seed(1)
    updates = 150
    for update in range(updates):
        with torch.no_grad():
            logp = answer_logp(weights)
            rewards = ppo.token_rewards(REWARD, ppo.kl_k1(logp, base, mask), mask, BETA)
            drawn = torch.multinomial(logp.sum(1).exp(), 512, replacement=True, generator=generator)
            if lam is None:
                worth = ppo.rloo(rewards.sum(1)[drawn], 512)[:, None].expand(512, 2)
            else:
                worth = ppo.gae(rewards, expected_values(logp, rewards), mask, lam)[drawn]
            advantages = ppo.whiten(worth, mask[drawn])
        for _ in range(2):
            tokens = int(mask[drawn].sum())
            found = ppo.policy_loss(answer_logp(weights)[drawn], logp[drawn], advantages, mask[drawn], 0.2, tokens)
            gradients = torch.autograd.grad(found.loss, weights)
            with torch.no_grad():
                for one, gradient in zip(weights, gradients, strict=True):
                    one -= (1 - update / updates) * gradient
    with torch.no_grad():
        policy = answer_logp(weights).sum(1).exp()
    assert total_variation(base.sum(1).exp(), optimum) > 0.3
    assert total_variation(policy, optimum) < 0.01
    # The optimum for a price of KL that is a quarter off lies well outside.
    assert total_variation(policy, (base.sum(1) + REWARD / (1.25 * BETA)).softmax(0)) > 0.05


@pytest.mark.parametrize("advantage", ["gae", "rloo"])
def test_a_language_model_reaches_the_optimum(tiny: LanguageModel, advantage: str) -> None:
    """A prompt whose answers have one token; the vowels are worth 1, everything else nothing."""
    made, prompt, beta, batch = trunk(tiny, 0, 0.0), [1, 40, 2, 3], 0.5, 256
    reward = torch.zeros(tiny.model.config.vocab_size)
    reward[tiny.tokenizer.convert_tokens_to_ids(list("aeiou"))] = 1.0

    def next_token() -> Tensor:
        with torch.no_grad():
            return tiny.model(torch.tensor([prompt])).logits[0, -1].double().softmax(-1)

    base = next_token()
    optimum = base * (reward.double() / beta).exp()
    optimum /= optimum.sum()
    policy = tiny.adapters[POLICY].parameters()
    optimiser = torch.optim.AdamW(policy, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)
    fields = {"batch": batch, "minibatches": 1, "warmup_steps": 0}
    fields |= {"advantage": advantage, "answers_per_prompt": 64}
    head: ppo.RidgeValue | None = None
    for update in range(updates := 40):
        hyper = PpoHyper.from_json({**fields, "learning_rate": 8e-3 * (1 - update / updates)}, "tiny")
        drawn = draw(made, [prompt] * batch, 1, seed=update * batch)
        found = look_at(made, drawn, [list(range(batch))], keep=False)
        found = found._replace(score=reward[[one.token_ids[0] for one in drawn]])
        advantages = advantages_of(found, found.score, hyper, beta, head)
        learn(made, found, advantages.values, [[list(range(batch))]], policy, optimiser, hyper, 0)
        head = advantages.head
    with using(tiny, POLICY):
        reached = next_token()
    assert total_variation(base, optimum) > 0.25
    assert total_variation(reached, optimum) < 0.05
