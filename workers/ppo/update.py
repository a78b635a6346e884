"""One PPO update: what each token of a rollout is worth, the steps that follow from it, and the figures to watch."""

import math
import random
import resource
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from app.runs.hyper import PpoHyper
from workers.language.adapters import Adapter
from workers.language.logprobs import token_logprobs
from workers.ppo import math as ppo
from workers.ppo.rollout import Rollout, Trunk
from workers.prompts import Prompt

EXACT, ROUNDED = 1e-4, 0.1
"""How far the first ratio may be from 1: in float32, and in bf16 (measured: 0)."""
SAMPLER_EXACT, SAMPLER_ROUNDED = 1e-3, 0.15
"""How far the sampler's log-probabilities may lie from the trainer's on average, in nats (measured in bf16: 0.04)."""


class Advantages(NamedTuple):
    """What each token of a rollout is worth, and the figures that came up on the way."""

    values: Tensor
    """Whitened advantages [N, T]."""
    head: ppo.RidgeValue | None
    """The value head after it has learned from this rollout; None where the answers to one prompt are compared."""
    metrics: dict[str, float]


def advantages_of(
    rollout: Rollout, earned: Tensor, hyper: PpoHyper, beta: float, value: ppo.RidgeValue | None
) -> Advantages:
    """Return whitened advantages from what the answers `earned` [N]; `beta` is the price of a nat.

    The value head (None: a fresh one) predicts the rollout and then learns from it.
    """
    k1 = ppo.kl_k1(rollout.logp, rollout.reference, rollout.mask)
    rewards = ppo.token_rewards(earned, k1, rollout.mask, beta)
    if hyper.advantage == "rloo":
        lead = ppo.rloo(rewards.sum(1), hyper.answers_per_prompt)
        # Whitened as GAE's are, so that a step size means the same with both.
        return Advantages(ppo.whiten(lead[:, None].expand_as(rewards), rollout.mask), None, {})
    seen = rollout.seen()
    value = value or ppo.RidgeValue.fresh(seen, rollout.mask)
    targets = ppo.returns(rewards, rollout.mask)
    predicted = value.predict(seen, rollout.mask)
    raw = ppo.gae(rewards, predicted, rollout.mask, hyper.gae_lambda)
    explained = ppo.explained_variance(predicted, targets, rollout.mask)
    learned = value.learn(seen, targets, rollout.mask)
    return Advantages(ppo.whiten(raw, rollout.mask), learned, {"explained_variance": explained})


def learn(
    trunk: Trunk,
    rollout: Rollout,
    advantages: Tensor,
    micros: Sequence[Sequence[Sequence[int]]],
    policy: Sequence[nn.Parameter],
    optimiser: torch.optim.Optimizer,
    hyper: PpoHyper,
    steps_done: int,
    pace: float = 1.0,
) -> dict[str, float]:
    """Take one optimiser step per minibatch and epoch; a step whose gradient is not finite is left out.

    `micros` holds the minibatches as micro-batches, which are dealt to the processes; `steps_done` counts the steps of
    earlier updates, for the warm-up; `pace` multiplies the step size.
    Raises RuntimeError if the very first ratio is not 1, or if a mask does not count the answers' tokens.
    """
    device, norms, clipped, tokens, ratio_max, skipped = trunk.lm.device, [], 0, 0, 0.0, 0
    for number, step in enumerate([step for _ in range(hyper.epochs) for step in micros]):
        for group in optimiser.param_groups:
            group["lr"] = pace * hyper.learning_rate * min(1.0, (steps_done + number + 1) / max(1, hyper.warmup_steps))
        optimiser.zero_grad()
        step_tokens, own_tokens, counted = _tokens(rollout, step), _tokens(rollout, trunk.world.deal(step)), 0
        for micro in trunk.world.deal(step):
            rows = [rollout.rows[row] for row in micro]
            states = trunk.policy_states(rows, rollout.lower.get(micro[0]))
            logp, mask = token_logprobs(trunk.lm, states, rows)
            old, worth = (one[list(micro), : mask.shape[1]].to(device) for one in (rollout.logp, advantages))
            found = ppo.policy_loss(logp, old, worth, mask, hyper.clip, step_tokens)
            torch.autograd.backward(found.loss)
            counted += int(mask.sum())
            clipped, ratio_max = clipped + int(found.clipped), max(ratio_max, float(found.ratio_max))
        tokens += step_tokens
        check_mask(counted, own_tokens)
        if number == 0:
            first_ratio = ratio_max
            check("The first ratios", first_ratio, EXACT, ROUNDED, trunk.lm.dtype)
        trunk.world.add_gradients(policy)
        norm = float(nn.utils.clip_grad_norm_(policy, 1.0))
        norms.append(norm)
        if math.isfinite(norm):
            optimiser.step()
        else:
            skipped += 1
    seen = trunk.world.gather([(clipped, ratio_max, first_ratio)])
    return {
        "grad_norm": sum(norms) / len(norms),
        "clip_fraction": sum(one[0] for one in seen) / tokens,
        "ratio_max": 1 + max(one[1] for one in seen),
        "first_ratio": 1 + max(one[2] for one in seen),
        "steps_skipped": float(skipped),
    }


def _tokens(rollout: Rollout, micros: Sequence[Sequence[int]]) -> int:
    return sum(len(rollout.rows[row][1]) for micro in micros for row in micro)


def figures(rollout: Rollout) -> dict[str, float]:
    """Return what is shown of a rollout.

    Raises RuntimeError if the sampler's log-probabilities are not the trainer's, or the mask is not the answers'.
    """
    dtype, tokens = rollout.hidden.dtype, sum(len(response) for _, response in rollout.rows)
    check_mask(int(rollout.mask.sum()), tokens)
    check("The sampler's log-probabilities", rollout.gap, SAMPLER_EXACT, SAMPLER_ROUNDED, dtype)
    return {
        "score": float(rollout.score.mean()),
        "kl": rollout.kl(),
        "kl_k3": rollout.kl_k3(),
        "entropy": ppo.entropy_estimate(rollout.logp, rollout.mask),
        "length": float(rollout.lengths().float().mean()),
        "eos_rate": float(rollout.ended.float().mean()),
        "tokens": float(tokens),
        "mask_gap": float(rollout.mask.sum()) - tokens,
        "sampler_gap": rollout.gap,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3),
    }


def fresh_figures(rollout: Rollout) -> dict[str, float]:
    """Return how far a policy that has learned nothing is from the base model, in nats per token: not at all.

    Raises RuntimeError if it is further away than rounding explains.
    """
    gap = float((rollout.logp - rollout.reference)[rollout.mask].abs().mean())
    check("A fresh policy's log-probabilities", gap, EXACT, ROUNDED, rollout.hidden.dtype)
    return {"reference_gap": gap}


def check_mask(counted: int, tokens: int) -> None:
    """Raise RuntimeError unless a mask counts the tokens of its answers, end tokens included and no others."""
    if counted != tokens:
        raise RuntimeError(
            f"The mask counts {counted} tokens, the answers have {tokens}. Nothing was promoted. Report this with the "
            "run's specification."
        )


def check(what: str, distance: float, exact: float, rounded: float, dtype: torch.dtype) -> None:
    """Raise RuntimeError if two ways to the same probability lie further apart than rounding explains."""
    most = exact if dtype == torch.float32 else rounded
    if not distance <= most:
        raise RuntimeError(
            f"{what} lie {distance:.2g} from what they must be; rounding explains at most {most:g}. "
            "Nothing was promoted. Report this with the run's specification."
        )


def prompts_of_update(prompts: Sequence[Prompt], update: int, hyper: PpoHyper, seed: int) -> list[list[int]]:
    """Return the prompts' ids for one update, each as often as it is answered; every prompt once before any twice."""
    different = hyper.batch // hyper.answers_per_prompt
    chosen = []
    for index in range(update * different, (update + 1) * different):
        order = list(range(len(prompts)))
        random.Random(seed * 1_000_003 + index // len(prompts)).shuffle(order)
        chosen.append(prompts[order[index % len(prompts)]].ids)
    return [ids for ids in chosen for _ in range(hyper.answers_per_prompt)]


def minibatches_of(count: int, parts: int, seed: int) -> list[list[int]]:
    """Return the rows 0 to count - 1 in `parts` random groups of nearly the same size."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return [order[part::parts] for part in range(parts)]


def put(policy: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    """Write values into the policy's parameters."""
    with torch.no_grad():
        for parameter, one in zip(policy, values, strict=True):
            parameter.copy_(one)


def move_back(policy: Sequence[nn.Parameter], values: Sequence[Tensor], share: float) -> None:
    """Move the policy's parameters back towards values, by a share of the way between 0 and 1."""
    with torch.no_grad():
        for parameter, one in zip(policy, values, strict=True):
            parameter.lerp_(one.to(parameter.device), share)  # a saved state comes back to the processor's memory


def weaken(adapter: Adapter, share: float) -> None:
    """Multiply what an adapter adds to its layers: by 0 it is the base model."""
    with torch.no_grad():
        for _, b in adapter.pairs.values():
            b.mul_(share)
