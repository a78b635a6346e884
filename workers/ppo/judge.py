"""Does the policy earn more than where it started? The same held-out prompts, the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.runs.hyper import PpoHyper
from workers.drift import OFTEN, Drift, mean_of_prompts
from workers.language.tokens import decode
from workers.ppo import math as ppo
from workers.ppo.rollout import Rollout, Trunk, draw, look_at, micro_batches
from workers.prompts import Prompt


@dataclass(frozen=True, kw_only=True)
class Judgement(Drift):
    """What one look at the held-out prompts found, and what the answers earned there."""

    rewards: list[float]
    """What each answer earned, in the order of the prompts."""
    reward: float

    def metrics(self) -> dict[str, float]:
        """Return the figures to be reported."""
        return {"reward_heldout": self.reward, **super().metrics()}


def judge(
    trunk: Trunk, prompts: Sequence[Prompt], hyper: PpoHyper, seed: int, expected: bool | None = None
) -> Judgement:
    """Let the policy answer held-out prompts, in turn until there are enough answers, and look at these.

    `expected` says whether an end is (Rollout.rewards); None, for the first look of a run, lets these answers say it.
    The processes share this as they share an update, because it is the same work.
    """
    asked = [prompts[index % len(prompts)].ids for index in range(hyper.heldout_answers)]
    drawn = draw(trunk, asked, hyper.max_new_tokens, seed)
    rows = [(one.prompt_ids, one.token_ids) for one in drawn]
    (micros,) = micro_batches(rows, [range(len(rows))], trunk.world)
    found: Rollout = look_at(trunk, drawn, trunk.world.deal(micros), keep=False)
    eos_rate = float(found.ended.float().mean())
    expected = eos_rate >= OFTEN if expected is None else expected
    rewards = found.rewards(hyper.score_clip, hyper.missing_eos_penalty, expected)
    judged = Judgement(
        rewards=rewards.tolist(),
        reward=float(rewards.mean()),
        kls=found.nats().tolist(),
        length=float(found.lengths().float().mean()),
        eos_rate=eos_rate,
        distinct=ppo.distinct_share([response for _, response in rows[: len(prompts)]]),
        texts=[decode(trunk.lm, response) for _, response in rows],
    )
    return trunk.world.first(lambda: judged)


def gain(best: Judgement, first: Judgement, prompts: int) -> tuple[float, float, float]:
    """Return the mean gain in reward from `first` to `best` and its 95 % interval, as `mean_of_prompts` does."""
    return mean_of_prompts([b - a for b, a in zip(best.rewards, first.rewards, strict=True)], prompts)
