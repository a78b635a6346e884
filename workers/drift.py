"""How far a policy has moved from the base model on held-out prompts, what its answers look like, when that is the end.

Answers are drawn from the whole distribution at temperature 1, where the mean of log pi - log pi_ref is the KL.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from workers.language import adapters
from workers.language.logprobs import response_logprobs
from workers.language.model import LanguageModel
from workers.language.tokens import decode
from workers.ppo.math import distinct_share, kl_k1
from workers.prompts import Prompt
from workers.responses import draw
from workers.reward.model import BATCH, batches
from workers.world import ALONE, World

SHORT = 0.25
"""Answers shorter than this share of the first ones are a collapse."""
ENDLESS = 0.25
"""So is an end that is reached less often than this share of what it was."""
OFTEN = 0.3
"""Where fewer of the first answers ended, because they are longer than the limit, that is no sign."""
REPEATED = 0.5
"""And so are n-grams over all prompts that are this much less varied."""
LOOKS_OVER_BUDGET = 2
"""After so many looks in a row beyond the KL budget a run ends."""
SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What one look at the held-out prompts found."""

    kls: list[float]
    """Nats of each answer, in the order of the prompts."""
    length: float
    """Tokens per answer."""
    eos_rate: float
    distinct: float
    """Share of different trigrams among all trigrams of answers to different prompts."""
    texts: list[str]

    @property
    def kl(self) -> float:
        """Nats per answer."""
        return sum(self.kls) / len(self.kls)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object; the class takes it back as keyword arguments."""
        return asdict(self)

    def metrics(self) -> dict[str, float]:
        """Return the figures to be reported."""
        return {
            "kl_heldout": self.kl,
            "length_heldout": self.length,
            "eos_heldout": self.eos_rate,
            "distinct_heldout": self.distinct,
        }


@dataclass
class Looks:
    """What a run remembers of its looks at the held-out prompts; written into the saved state as it is."""

    point: str
    """What the run counts: "update" or "step"."""
    stagnant: str
    """What is said where nothing was gained, such as "The held-out reward has not risen"."""
    best: float
    """Value of the best point so far; the higher the better."""
    best_at: int = 0
    over_budget: int = 0
    """At how many looks in a row the KL was over its budget."""
    without_gain: int = 0
    """At how many looks in a row there was no better point."""
    ended: str = ""
    """Why training ended early, as a sentence."""

    def take(self, at: int, value: float, now: Drift, first: Drift, budget: float, patience: int) -> bool:
        """Count the look after `at` updates or steps; return whether it is the best point that may be kept.

        The run has `ended` at a trick, where the KL stays over its budget, and after `patience` looks (0: never)
        without a better point within the budget.
        """
        caught = trick(now, first)
        self.over_budget = self.over_budget + 1 if now.kl > budget else 0
        better = value > self.best and caught is None and not self.over_budget
        self.without_gain = 0 if better else self.without_gain + 1
        if better:
            self.best, self.best_at = value, at
        if caught is None and self.over_budget >= LOOKS_OVER_BUDGET:
            caught = f"The policy stayed {now.kl:.1f} nats from the base model; the budget is {budget:g}."
        if caught is None and patience and self.without_gain >= patience:
            caught = f"{self.stagnant} at {self.without_gain} looks in a row."
        if caught is not None:
            self.ended = f"{caught} The run went back to {self.point} {self.best_at}."
        return better


def measure(
    lm: LanguageModel,
    adapter: str,
    prompts: Sequence[Prompt],
    answers: int,
    tokens: int,
    seed: int,
    world: World = ALONE,
    should_stop: Callable[[], bool] = lambda: False,
) -> Drift:
    """Let the policy give so many answers of at most `tokens` tokens to the prompts in turn, and look at these.

    Raises errors.Stopped soon after `should_stop` says so.
    """
    asked = [prompts[index % len(prompts)].ids for index in range(answers)]
    drawn = draw(lm, adapter, asked, tokens, seed, world, should_stop)
    rows = [(one.prompt_ids, one.token_ids) for one in drawn]
    own = []
    with torch.no_grad():
        for batch in world.deal(batches(rows, BATCH)):
            some = [rows[index] for index in batch]
            with adapters.using(lm, adapter):
                logp, mask = response_logprobs(lm, some)
            reference, _ = response_logprobs(lm, some)
            own += list(zip(batch, kl_k1(logp, reference, mask).sum(1).tolist(), strict=True))
    return Drift(
        kls=[nats for _, nats in sorted(world.gather(own))],
        length=sum(len(response) for _, response in rows) / answers,
        eos_rate=sum(one.finish == "stop" for one in drawn) / answers,
        distinct=distinct_share([response for _, response in rows[: len(prompts)]]),
        texts=[decode(lm, response) for _, response in rows],
    )


def mean_of_prompts(values: Sequence[float], prompts: int) -> tuple[float, float, float]:
    """Return the mean of what was found of each answer and its 95 % interval; `prompts` were answered in turn.

    Answers to one prompt stand together: the interval comes from the spread of the prompts' means.
    """
    count = min(prompts, len(values))
    means = [sum(own) / len(own) for own in (values[start::count] for start in range(count))]
    mean = sum(means) / count
    spread = math.sqrt(sum((one - mean) ** 2 for one in means) / max(1, count - 1))
    half = 1.96 * spread / math.sqrt(count)
    return mean, mean - half, mean + half


def trick(now: Drift, first: Drift) -> str | None:
    """Return a sentence if the policy got where it is by a trick that was seen before, else None."""
    if now.length < SHORT * first.length:
        return f"The answers collapsed to {now.length:.0f} tokens (before: {first.length:.0f})."
    if now.eos_rate < ENDLESS * first.eos_rate and first.eos_rate >= OFTEN:
        return f"Only {now.eos_rate:.0%} of the answers come to their end (before: {first.eos_rate:.0%})."
    if now.distinct < REPEATED * first.distinct:
        return f"The answers repeat one phrase for every prompt: {now.distinct:.0%} of their trigrams differ."
    return None


def moved(before: Drift, after: Drift) -> dict[str, float]:
    """Return the figures of a finished run: where its policy came to, and where it started."""
    return {
        "kl": after.kl,
        "length": after.length,
        "length_start": before.length,
        "eos_rate": after.eos_rate,
        "eos_rate_start": before.eos_rate,
        "distinct": after.distinct,
        "distinct_start": before.distinct,
    }


def shown(prompts: Sequence[Prompt], before: Drift, after: Drift) -> list[dict[str, str]]:
    """Return a few prompts with an answer before and after, for people to read."""
    triples = zip(prompts, before.texts, after.texts, strict=False)
    return [{"prompt": prompt.text, "before": one, "after": other} for prompt, one, other in triples][:SHOWN]
