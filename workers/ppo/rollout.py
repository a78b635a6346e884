"""Draw answers from the policy and find out all that PPO needs of them: log-probabilities, reference, score, states.

Policy, base model and reward model share one trunk. Blocks below every adapter run once for all three, while the
answers are drawn.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from workers import responses
from workers.language.adapters import using
from workers.language.decode import Sampled
from workers.language.layers import LAST, states_above, states_at
from workers.language.logprobs import Row, token_logprobs
from workers.language.model import LanguageModel
from workers.policy import POLICY
from workers.ppo import math as ppo
from workers.reward.model import RewardModel
from workers.world import ALONE, World

MICRO_ROWS = 8
"""Answers whose activations are held at once."""


class Trunk(NamedTuple):
    """One model in memory: the base, the policy's adapter from block `lower` on, the reward model."""

    lm: LanguageModel
    reward: RewardModel
    lower: int
    world: World = ALONE
    """The processes that share the work, each with a trunk of its own."""

    def below(self) -> list[int]:
        """Return the blocks after which the sampler keeps the states, all that the base model's are needed of.

        None where the policy's adapter is below one of them, or on every block.
        """
        layers = sorted({self.lower, *self.reward.base_layers()})
        return layers if self.lower and layers[-1] <= self.lower else []

    def base_states(self, drawn: Sequence[Sampled]) -> dict[int, Tensor]:
        """Return the base model's states [B, S, D] at the end and wherever reward model and policy go on from them."""
        rows: list[Row] = [(one.prompt_ids, one.token_ids) for one in drawn]
        if not all(one.states for one in drawn):
            layers = {LAST, *self.reward.base_layers(), *([self.lower] if self.lower else [])}
            return states_at(self.lm, rows, sorted(layers))
        kept = zip(*(one.states for one in drawn), strict=True)
        whole = [pad_sequence(list(states), batch_first=True).to(self.lm.device) for states in kept]
        found = dict(zip(self.below(), whole, strict=True))
        return found | {LAST: states_above(self.lm, rows, found[self.lower], self.lower)}

    def policy_states(self, rows: Sequence[Row], lower: Tensor | None) -> Tensor:
        """Return the policy's last states [B, S, D]; `lower` holds the states below its adapter, if kept."""
        with using(self.lm, POLICY):
            if lower is None:
                return states_at(self.lm, rows, [LAST])[LAST]
            return states_above(self.lm, rows, lower, self.lower)


class Rollout(NamedTuple):
    """N answers of at most T tokens; tensors are float32 on the CPU unless said otherwise."""

    rows: list[Row]
    mask: Tensor
    """True on real tokens, bool [N, T]."""
    ended: Tensor
    """Whether the answer came to its end by itself, bool [N]."""
    logp: Tensor
    """Log-probability of every token under the policy that drew it, by the training path, [N, T]."""
    reference: Tensor
    """The same under the base model, [N, T]."""
    score: Tensor
    """Normalised reward of each answer, before clipping and penalties, [N]."""
    hidden: Tensor
    """The policy's last states from which each token was drawn, [N, T, D]."""
    earned: Tensor
    """What the answer had earned before each token, [N, T, 2] (RewardModel.course), in the unit of the reward."""
    lower: dict[int, Tensor]
    """The states below the policy's adapter of each micro-batch that this process looked at, by its first row; empty
    if every block is adapted."""
    gap: float
    """Mean distance of the sampler's own log-probabilities from `logp`, in nats."""

    def lengths(self) -> Tensor:
        """Return the number of tokens of every answer, [N]."""
        return self.mask.sum(1)

    def seen(self) -> Tensor:
        """Return what a value head may know before each token, [N, T, D + 2]: the policy's state, what was earned."""
        return torch.cat([self.hidden.float(), self.earned], dim=2)

    def nats(self) -> Tensor:
        """Return what each answer says of the KL to the base model, [N] (k1 summed over tokens)."""
        return ppo.kl_k1(self.logp, self.reference, self.mask).sum(1)

    def kl(self) -> float:
        """Return the mean KL to the base model per answer, in nats."""
        return float(self.nats().mean())

    def kl_k3(self) -> float:
        """Return the same by the estimator that is never negative."""
        return float(ppo.kl_k3(self.logp, self.reference, self.mask).sum(1).mean())

    def rewards(self, clip: float, penalty: float, expected: bool) -> Tensor:
        """Return what each answer earns, [N]: its score clipped to +-`clip`, less a charge if it did not end.

        The charge is `penalty`; where an end is `expected`, it takes away as well what such answers score more.
        """
        score = self.score.clamp(-clip, clip)
        charge = ppo.end_charge(score, self.ended, penalty) if expected else penalty
        return score - charge * (~self.ended).float()


def micro_batches(
    rows: Sequence[Row], minibatches: Sequence[Sequence[int]], world: World = ALONE
) -> list[list[list[int]]]:
    """Return each minibatch as lists of at most MICRO_ROWS rows of like length, one at least for every process."""
    found = []
    for members in minibatches:
        order = sorted(members, key=lambda index: (len(rows[index][0]) + len(rows[index][1]), index))
        size = min(MICRO_ROWS, math.ceil(len(order) / world.size))
        found.append([order[start : start + size] for start in range(0, len(order), size)])
    return found


def draw(
    trunk: Trunk,
    prompts: Sequence[list[int]],
    tokens: int,
    seed: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Sampled]:
    """Draw one answer per prompt from the whole distribution of the policy at temperature 1; answer i has seed + i."""
    return responses.draw(trunk.lm, POLICY, prompts, tokens, seed, trunk.world, should_stop, trunk.below())


def look_at(trunk: Trunk, drawn: Sequence[Sampled], micros: Sequence[Sequence[int]], keep: bool) -> Rollout:
    """Run base model, reward model and policy over drawn answers; `micros` are this process's micro-batches of them.

    `keep` says whether the states below the policy's adapter are kept for training.
    """
    lm, lower = trunk.lm, trunk.lower
    rows = [(one.prompt_ids, one.token_ids) for one in drawn]
    count, longest = len(rows), max(len(response) for _, response in rows)
    width = lm.model.config.hidden_size
    mask = torch.arange(longest) < torch.tensor([len(response) for _, response in rows])[:, None]
    logp, reference, sampled = torch.zeros(3, count, longest)
    score, hidden = torch.zeros(count), torch.zeros(count, longest, width, dtype=lm.dtype)
    earned = torch.zeros(count, longest, 2)
    kept: dict[int, Tensor] = {}
    for index, one in enumerate(drawn):
        sampled[index, : len(one.logprobs)] = torch.tensor(one.logprobs)
    with torch.no_grad():
        for micro in micros:
            some = [rows[index] for index in micro]
            base = trunk.base_states([drawn[index] for index in micro])
            states = trunk.policy_states(some, base[lower] if lower else None)
            _put(reference, micro, token_logprobs(lm, base[LAST], some)[0])
            _put(logp, micro, token_logprobs(lm, states, some)[0])
            _put(hidden, micro, before_tokens(states, some))
            raw, course = trunk.reward.course(some, base if trunk.reward.base_layers() else None)
            _put(earned, micro, course / trunk.reward.std)
            score[micro] = trunk.reward.normalised(raw).cpu()
            if keep and lower:
                kept[micro[0]] = base[lower]
    # The rows that others looked at are zero here, so the sums are exact.
    trunk.world.add([logp, reference, score, earned])
    trunk.world.add([hidden])
    gap = float((sampled - logp)[mask].abs().mean())
    ended = torch.tensor([one.finish == "stop" for one in drawn])
    return Rollout(rows, mask, ended, logp, reference, score, hidden, earned, kept, gap)


def before_tokens(states: Tensor, rows: Sequence[Row]) -> Tensor:
    """Return from states [B, S, D] those that predict each response token, [B, R, D]; 0 beyond a row's response."""
    found = states.new_zeros(len(rows), max(len(response) for _, response in rows), states.shape[2])
    for index, (prompt, response) in enumerate(rows):
        found[index, : len(response)] = states[index, len(prompt) - 1 : len(prompt) - 1 + len(response)]
    return found


def _put(target: Tensor, rows: Sequence[int], values: Tensor) -> None:
    """Write values [b, r, ...] into the first r columns of some rows of target [N, T, ...]."""
    for place, row in enumerate(rows):
        target[row, : values.shape[1]] = values[place].to(device=target.device, dtype=target.dtype)
