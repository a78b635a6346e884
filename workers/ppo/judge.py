"""Is the policy better than where it started, and did it find a trick instead? The same prompts, the same seeds."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.runs.hyper import PpoHyper
from workers.language.tokens import decode
from workers.ppo import math as ppo
from workers.ppo.rollout import Rollout, Trunk, draw, look_at, micro_batches
from workers.prompts import Prompt

SHORT = 0.25
"""Answers shorter than this share of the first ones are a collapse."""
ENDLESS = 0.25
"""So is an end that is reached less often than this share of what it was."""
OFTEN = 0.3
"""Where fewer of the first answers ended, because they are longer than the limit, that is no sign."""
REPEATED = 0.5
"""And so are n-grams over all prompts that are this much less varied."""


@dataclass(frozen=True)
class Judgement:
    """What one look at the held-out prompts found."""

    rewards: list[float]
    """What each answer earned, in the order of the prompts."""
    reward: float
    kl: float
    length: float
    eos_rate: float
    distinct: float
    """Share of different trigrams among all trigrams of answers to different prompts."""
    texts: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object; the class takes it back as keyword arguments."""
        return asdict(self)

    def metrics(self) -> dict[str, float]:
        """Return the figures to be reported."""
        return {
            "reward_heldout": self.reward,
            "kl_heldout": self.kl,
            "length_heldout": self.length,
            "eos_heldout": self.eos_rate,
            "distinct_heldout": self.distinct,
        }


def judge(trunk: Trunk, prompts: Sequence[Prompt], hyper: PpoHyper, seed: int) -> Judgement:
    """Let the policy answer held-out prompts, in turn until there are enough answers, and look at these."""
    asked = [prompts[index % len(prompts)].ids for index in range(hyper.heldout_answers)]
    drawn = draw(trunk, asked, hyper.max_new_tokens, seed)
    rows = [(one.prompt_ids, one.token_ids) for one in drawn]
    (micros,) = micro_batches(rows, [range(len(rows))])
    found: Rollout = look_at(trunk, drawn, micros, keep=False)
    rewards = found.rewards(hyper.score_clip, hyper.missing_eos_penalty)
    return Judgement(
        rewards=rewards.tolist(),
        reward=float(rewards.mean()),
        kl=found.kl(),
        length=float(found.lengths().float().mean()),
        eos_rate=float(found.ended.float().mean()),
        distinct=ppo.distinct_share([response for _, response in rows[: len(prompts)]]),
        texts=[decode(trunk.lm, response) for _, response in rows],
    )


def trick(now: Judgement, first: Judgement) -> str | None:
    """Return a sentence if the policy earns its reward by a trick that was seen before, else None."""
    if now.length < SHORT * first.length:
        return f"The answers collapsed to {now.length:.0f} tokens (before: {first.length:.0f})."
    if now.eos_rate < ENDLESS * first.eos_rate and first.eos_rate >= OFTEN:
        return f"Only {now.eos_rate:.0%} of the answers come to their end (before: {first.eos_rate:.0%})."
    if now.distinct < REPEATED * first.distinct:
        return f"The answers repeat one phrase for every prompt: {now.distinct:.0%} of their trigrams differ."
    return None


def gain(best: Judgement, first: Judgement, prompts: int) -> tuple[float, float, float]:
    """Return the mean gain in reward from `first` to `best` and its 95 % interval.

    Answers to one prompt stand together: the interval comes from the spread of the prompts' mean gains.
    """
    differences = [b - a for b, a in zip(best.rewards, first.rewards, strict=True)]
    count = min(prompts, len(differences))
    means = [sum(own) / len(own) for own in (differences[start::count] for start in range(count))]
    mean = sum(means) / count
    spread = math.sqrt(sum((one - mean) ** 2 for one in means) / max(1, count - 1))
    half = 1.96 * spread / math.sqrt(count)
    return mean, mean - half, mean + half
