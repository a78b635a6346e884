"""Every formula of PPO as a pure function of tensors; B answers, T token positions, mask [B, T] true on real tokens.

Notation and most choices follow Schulman et al., Proximal Policy Optimization Algorithms (2017), Schulman et al.,
High-Dimensional Continuous Control Using Generalized Advantage Estimation (2016) and Ziegler et al., Fine-Tuning
Language Models from Human Preferences (2019). Where they leave a choice, the docstring says which was taken.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

KL_CLAMP = 10.0
LOG_RATIO_CLAMP = 20.0


def kl_k1(logp: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Return log pi - log pi_ref per token [B, T]; its mean over the policy's own tokens is the KL, unbiased."""
    return (logp - reference).masked_fill(~mask, 0.0)


def kl_k3(logp: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Return exp(-k1) - 1 + k1 per token [B, T] (Schulman 2020): same mean as k1, never negative; for display only."""
    k1 = kl_k1(logp, reference, mask).clamp(-LOG_RATIO_CLAMP, LOG_RATIO_CLAMP)
    return torch.expm1(-k1) + k1


def token_rewards(score: Tensor, k1: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Return the reward of every token [B, T]: minus beta times its KL, and the score [B] on the last token.

    Each row must have at least one token. The KL of one token is clamped to +-10 nats.
    """
    rewards = -beta * k1.clamp(-KL_CLAMP, KL_CLAMP)
    last = mask.long().sum(1) - 1
    rewards = rewards.masked_fill(~mask, 0.0)
    rewards[torch.arange(len(score)), last] += score
    return rewards


def gae(rewards: Tensor, values: Tensor, mask: Tensor, lam: float, gamma: float = 1.0) -> Tensor:
    """Return generalised advantages [B, T]: sum over k of (gamma lam)^k delta_{t+k}; the value after the end is 0.

    delta_t = reward_t + gamma value_{t+1} - value_t. Tokens are contiguous from position 0 in each row.
    """
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[:, 0])
    following = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        here = mask[:, t]
        delta = rewards[:, t] + gamma * following - values[:, t]
        running = torch.where(here, delta + gamma * lam * running, torch.zeros_like(running))
        following = torch.where(here, values[:, t], torch.zeros_like(following))
        advantages[:, t] = running
    return advantages


def rloo(earned: Tensor, group: int) -> Tensor:
    """Return by how much each answer [N] beats the mean of the other answers to its prompt, [N].

    REINFORCE with the leave-one-out baseline (Kool et al., Buy 4 REINFORCE Samples, Get a Baseline for Free!, 2019;
    Ahmadian et al., Back to Basics, 2024, arXiv:2402.14740). `earned` [N] is what each whole answer earned, KL paid;
    answers to one prompt stand together, `group` of them, at least two.
    """
    by_prompt = earned.view(-1, group)
    others = (by_prompt.sum(1, keepdim=True) - by_prompt) / (group - 1)
    return (by_prompt - others).flatten()


def returns(rewards: Tensor, mask: Tensor) -> Tensor:
    """Return the undiscounted sum of this and all later rewards at every token [B, T]."""
    return rewards.masked_fill(~mask, 0.0).flip(1).cumsum(1).flip(1).masked_fill(~mask, 0.0)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Return values [B, T] shifted and scaled to mean 0 and variance 1 over the masked tokens, 0 elsewhere."""
    inside = values[mask].double()
    mean, spread = inside.mean(), inside.std(correction=0)
    return ((values.double() - mean) / (spread + 1e-8)).to(values.dtype).masked_fill(~mask, 0.0)


class PolicyLoss(NamedTuple):
    """The clipped objective of a minibatch and what to watch beside it."""

    loss: Tensor
    clipped: Tensor
    """How many tokens lie outside the clip range."""
    ratio_max: Tensor
    """Largest distance of a probability ratio from 1."""


def policy_loss(logp: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float, tokens: int) -> PolicyLoss:
    """Return the clipped surrogate loss of a minibatch [b, T], summed over its tokens and divided by `tokens`.

    `tokens` counts the masked tokens of the whole optimiser step, so that splitting a step changes nothing.
    """
    log_ratio = (logp - old).masked_fill(~mask, 0.0).clamp(-LOG_RATIO_CLAMP, LOG_RATIO_CLAMP)
    ratio = log_ratio.exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    distance = (ratio.detach() - 1).abs()
    return PolicyLoss(-(surrogate * mask).sum() / tokens, (distance > clip).sum(), distance.max())


def explained_variance(values: Tensor, targets: Tensor, mask: Tensor) -> float:
    """Return 1 - Var(target - value) / Var(target) over the masked tokens; 0 where the targets do not vary."""
    target, error = targets[mask].double(), (targets - values)[mask].double()
    spread = float(target.var(correction=0))
    return 1 - float(error.var(correction=0)) / spread if spread > 0 else 0.0


def entropy_estimate(logp: Tensor, mask: Tensor) -> float:
    """Return the mean of -log pi over the policy's own tokens, in nats per token: an unbiased entropy estimate."""
    return float(-logp[mask].mean())


class KlController(NamedTuple):
    """The price of one nat, steered so that the KL settles below its target within a run of a dozen updates.

    The usual proportional controller (Ziegler et al., horizon 1,000 episodes and more) moves the price by a few per
    cent in a whole run here. This one looks ahead: it extrapolates the KL by its smoothed speed and raises the price
    exponentially, fast, where the forecast lies above the target, and lowers it slowly where it lies below.
    """

    beta: float
    kl: float = 0.0
    speed: float = 0.0

    def update(self, kl: float, target: float) -> "KlController":
        """Return the controller after an update whose answers were `kl` nats from the base model.

        A price of 0 stays 0: that is how a run without a leash is asked for.
        """
        speed = (self.speed + kl - self.kl) / 2
        error = max(-1.0, min(1.0, (kl + LOOK_AHEAD * speed) / target - 1))
        beta = self.beta * math.exp((RAISE if error > 0 else LOWER) * error)
        return KlController(min(max(beta, BETA_LOW), BETA_HIGH) if self.beta else 0.0, kl, speed)


LOOK_AHEAD = 4.0
RAISE = 1.2
LOWER = 0.2
BETA_LOW, BETA_HIGH = 0.005, 2.0


def leash(kl: float, target: float) -> float:
    """Return by what the adapter's output is multiplied where answers were `kl` nats from the base model; at most 1.

    Weights that are multiplied by s are s^2 as far from the base model near it and up to s^7 as far a few nats from it
    (measured); the fourth power is between them.
    """
    return (target / kl) ** LEASH_POWER if kl > target else 1.0


LEASH_POWER = 0.25


def drawn_in(kl: float, start: float, wanted: float, root: int) -> float:
    """Return which share of its way from the start a policy keeps so that its KL falls from `kl` to `wanted` nats.

    `start` is the KL where it started. What is beyond that is taken to grow with the `root`-th power of the way.
    """
    return float((max(0.0, wanted - start) / (kl - start)) ** (1 / root))


class Pace(NamedTuple):
    """What the step size is multiplied by, so that a policy walks to its KL target at an even pace.

    Steps of the same length move a policy ever farther as it learns: it hardly moves at first, and later goes beyond
    the target within one update, from where the price of KL can only chase it back. The distance from the base model
    is taken to be the root of twice the KL, as it is near the start.
    """

    factor: float
    distance: float

    @classmethod
    def at(cls, kl: float) -> "Pace":
        """Return the pace of a policy that starts `kl` nats from the base model."""
        return cls(1.0, math.sqrt(2 * max(kl, 0.0)))

    def update(self, kl: float, target: float, updates: int) -> "Pace":
        """Return the pace after an update whose answers were `kl` nats from the base model, in a run of `updates`.

        A walk that would be at the target in half of the updates, if it were straight, is neither slowed down nor,
        while it is not half-way there, sped up. The factor is halved or raised by a quarter at most.
        """
        distance = Pace.at(kl).distance
        gone, wanted = distance - self.distance, 2 * math.sqrt(2 * target) / updates
        change = max(wanted / gone, SLOWER) if gone > wanted else FASTER if distance < math.sqrt(target / 2) else 1.0
        return Pace(min(max(self.factor * change, PACE_LOW), 1.0), distance)


SLOWER, FASTER = 0.5, 1.25
PACE_LOW = 0.02


def end_charge(scores: Tensor, ended: Tensor, penalty: float) -> float:
    """Return what is taken off the score of an answer that did not come to its end; scores [N], ended bool [N].

    Where a score grows with every sentence, an answer that is cut off earns more than one that ends, and a policy soon
    ends none. So the charge is `penalty` and as much as those without an end score more on average: each of them then
    earns what an answer with an end does, less the penalty, and more or less as it is better or worse than the others.
    """
    if not penalty or ended.all() or not ended.any():
        return penalty
    return penalty + max(0.0, float(scores[~ended].mean() - scores[ended].mean()))


class RidgeValue(NamedTuple):
    """A value head: ridge regression of returns on the policy's hidden states, over a fading memory of rollouts.

    It predicts each rollout before it learns from it. Closed form, so it needs no learning rate and no value clip.
    """

    moments: Tensor
    """Sum of x x^T over remembered tokens, [F, F] in float64; F = hidden size + 2 (a constant and the position)."""
    products: Tensor
    """Sum of x * return, [F]."""
    weights: Tensor
    """[F]"""
    scale: Tensor
    """Standard deviation of each hidden feature over the first rollout, [D] in float32."""

    @classmethod
    def fresh(cls, hidden: Tensor, mask: Tensor) -> "RidgeValue":
        """Return a head that predicts 0, scaled to the first rollout's hidden states [B, T, D]."""
        size = hidden.shape[-1] + 2
        scale = hidden[mask].float().std(0) + 1e-3
        moments = torch.zeros(size, size, dtype=torch.float64)
        return cls(moments, moments[0].clone(), moments[0].clone(), scale)

    def predict(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the expected return [B, T] at every token from the hidden states [B, T, D] before it."""
        values = torch.zeros(mask.shape)
        values[mask] = (self._features(hidden, mask) @ self.weights).float()
        return values

    def learn(self, hidden: Tensor, targets: Tensor, mask: Tensor) -> "RidgeValue":
        """Return the head after seeing one more rollout with its returns [B, T]."""
        x, y = self._features(hidden, mask), targets[mask].double()
        moments = VALUE_MEMORY * self.moments + x.T @ x
        products = VALUE_MEMORY * self.products + x.T @ y
        penalty = VALUE_RIDGE * torch.eye(len(products), dtype=torch.float64)
        return self._replace(
            moments=moments, products=products, weights=torch.linalg.solve(moments + penalty, products)
        )

    def _features(self, hidden: Tensor, mask: Tensor) -> Tensor:
        position = torch.arange(mask.shape[1]).expand(mask.shape)[mask, None] * 2 / mask.shape[1] - 1
        x = hidden[mask].float() / self.scale
        return torch.cat([x, torch.ones(len(x), 1), position], dim=1).double()


VALUE_MEMORY = 0.8
VALUE_RIDGE = 500.0


def distinct_share(answers: list[list[int]], n: int = 3) -> float:
    """Return the share of different n-grams among all n-grams of answers to different prompts; 1 without any.

    One phrase for every prompt makes it fall, however varied each answer is in itself.
    """
    grams = [tuple(answer[i : i + n]) for answer in answers for i in range(len(answer) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0
