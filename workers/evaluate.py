"""An `evaluate` run: the candidate's answers to held-out prompts against the policy in use and against the base model.

Answers are drawn as people see them (nucleus sampling); the reward model says which of two is better. A simulation of
a blind test, not a replacement for one: it knows only what the reward model knows.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from app.runs.hyper import EvaluateHyper
from workers import artifacts, duels
from workers.context import Context, IterationSpec, Parent, Stopped
from workers.drift import OFTEN, mean_of_prompts, measure
from workers.duels import Answers, length_controlled, length_controlled_interval, win_matrix
from workers.language import adapters
from workers.language.decode import Sampled, generate
from workers.language.errors import Stopped as SamplingStopped
from workers.language.model import LanguageModel, load
from workers.language.sampling import Settings
from workers.language.tokens import decode
from workers.ppo.math import distinct_share
from workers.prompts import Prompt, for_judging, read_prompts
from workers.reward.model import RewardModel, load_reward, score_all
from workers.reward.report import wilson_clustered

SEED, KL_SEED = 800_000_011, 900_000_011
SHOWN = 8
REPEATED, ENDLESS, LONGER = 1.5, 0.5, 2.0
"""Shares of the base model's figures beyond which a candidate is not let through by itself."""


def run(spec: IterationSpec, context: Context) -> dict[str, Any]:
    """Compare a candidate with the policy in use and with the base model, and say whether it should take over."""
    hyper, lm = cast(EvaluateHyper, spec.hyper), load(spec.base_model)
    assert spec.parents.reward is not None
    assert spec.candidate is not None
    assert spec.prompts is not None
    reward = load_reward(lm, spec.parents.reward.url, spec.parents.reward.sha256)
    prompts = for_judging(read_prompts(lm, spec.prompts))[: hyper.prompts]
    # 1. Every policy answers the same prompts with the same seeds.
    contestants: dict[str, Parent | None] = {"candidate": spec.candidate, "base": None}
    if spec.parents.policy is not None:
        contestants["opponent"] = spec.parents.policy
    answers: dict[str, Answers] = {}
    for number, (name, checkpoint) in enumerate(contestants.items(), start=1):
        if checkpoint is not None:
            adapters.attach(lm, name, artifacts.read(checkpoint.url, checkpoint.sha256))
        try:
            answers[name] = _answer(lm, reward, prompts, hyper, spec.seed, name if checkpoint else None, context)
        except SamplingStopped:
            raise Stopped from None
        context.report("evaluate", number, len(contestants) + 1, {"reward": float(answers[name].scores.mean())})
    # 2. How far is the candidate from the base model? Over the whole distribution, as PPO's budget means it.
    asked = len(prompts) * hyper.answers_per_prompt
    tokens, seed, stop = hyper.max_new_tokens, KL_SEED + spec.seed, context.should_stop
    try:
        drift = measure(lm, "candidate", prompts, asked, tokens, seed, should_stop=stop)
    except SamplingStopped:
        raise Stopped from None
    kl, kl_low, kl_high = mean_of_prompts(drift.kls, len(prompts))
    # 3. Who wins?
    candidate, base, opponent = answers["candidate"], answers["base"], answers.get("opponent", answers["base"])
    metrics = _metrics(candidate, opponent, base) | {"kl": kl, "kl_low": kl_low, "kl_high": kl_high}
    passed, why = gate(metrics, spec.parents.policy, hyper)
    context.samples(
        [
            {"prompt": prompt.text, "before": before, "after": after}
            for prompt, before, after in zip(prompts, opponent.texts, candidate.texts, strict=True)
        ][:SHOWN]
    )
    context.report("evaluate", len(contestants) + 1, len(contestants) + 1, metrics, why)
    named = spec.parents.policy.id if spec.parents.policy else "base"
    verdict = {"passed": passed, "why": why, "spoilt": spoilt(metrics)}
    worse = duels.regressions([prompt.text for prompt in prompts], candidate, opponent)
    return {"metrics": {**metrics, "opponent": named}, "gate": verdict, "regressions": worse}


def gate(metrics: dict[str, float], policy: Parent | None, hyper: EvaluateHyper) -> tuple[bool, str]:
    """Say whether the candidate should take over, with a sentence that says why or what to do."""
    against = "the policy in use" if policy else "the base model"
    low, high = metrics["win_low"], metrics["win_high"]
    figures = (
        f"{metrics['win_rate']:.0%} [{low:.0%}, {high:.0%}] of {metrics['prompts']:.0f} prompts against {against} "
        f"({metrics['win_length_controlled']:.0%} at equal length)"
    )
    if low <= 0.5:
        return False, f"The candidate's win rate may be chance: {figures}. Label more and train again, or promote it."
    # PPO kept it within its budget on other answers: these must show that it is not.
    if metrics["kl_low"] > hyper.kl_budget:
        kl = f"{metrics['kl']:.1f} [{metrics['kl_low']:.1f}, {metrics['kl_high']:.1f}]"
        far = f"{kl} nats from the base model; the budget is {hyper.kl_budget:g}"
        return False, f"The candidate wins {figures}, but is {far}. Train with a smaller KL budget, or promote it."
    if (worse := spoilt(metrics)) is not None:
        return False, f"The candidate wins {figures}, but {worse}. Read its answers before you promote it."
    return True, f"The candidate wins {figures}, {metrics['kl']:.1f} nats from the base model."


def spoilt(metrics: dict[str, float]) -> str | None:
    """Say in a half sentence what became much worse than the base model's answers, if anything did."""
    if metrics["repetition"] > REPEATED * metrics["repetition_base"] + 0.05:
        said = f"{metrics['repetition']:.0%} of its trigrams (base model: {metrics['repetition_base']:.0%})"
        return f"repeats {said}"
    if metrics["eos_rate"] < ENDLESS * metrics["eos_rate_base"] and metrics["eos_rate_base"] >= OFTEN:
        return f"ends only {metrics['eos_rate']:.0%} of its answers (base model: {metrics['eos_rate_base']:.0%})"
    if metrics["length"] > LONGER * metrics["length_base"]:
        return f"needs {metrics['length']:.0f} tokens for an answer (base model: {metrics['length_base']:.0f})"
    return None


def _answer(
    lm: LanguageModel,
    reward: RewardModel,
    prompts: Sequence[Prompt],
    hyper: EvaluateHyper,
    seed: int,
    adapter: str | None,
    context: Context,
) -> Answers:
    settings = Settings(hyper.temperature, hyper.top_p, hyper.max_new_tokens)
    ids = [prompt.ids for prompt in prompts]
    drawn = generate(lm, ids, hyper.answers_per_prompt, settings, SEED + seed, adapter, context.should_stop)
    flat: list[Sampled] = [one for several in drawn for one in several]
    raw = score_all(reward, [(one.prompt_ids, one.token_ids) for one in flat])
    shape = (len(prompts), hyper.answers_per_prompt)
    return Answers(
        scores=reward.normalised(raw).double().numpy().reshape(shape),
        lengths=np.array([float(len(one.token_ids)) for one in flat]).reshape(shape),
        ended=sum(one.finish == "stop" for one in flat) / len(flat),
        repetition=sum(1 - distinct_share([one.token_ids]) for one in flat) / len(flat),
        distinct=distinct_share([several[0].token_ids for several in drawn]),
        texts=[decode(lm, several[0].token_ids) for several in drawn],
    )


def _metrics(candidate: Answers, opponent: Answers, base: Answers) -> dict[str, float]:
    prompts = len(candidate.scores)
    metrics = {"prompts": float(prompts)}
    for prefix, other in (("win", opponent), ("win_base", base)):
        rates = win_matrix(candidate.scores, other.scores)
        low, high = wilson_clustered(rates, candidate.scores.shape[1])
        metrics |= {f"{prefix}_rate": float(rates.mean()), f"{prefix}_low": low, f"{prefix}_high": high}
        controlled, (low, high) = length_controlled(candidate, other), length_controlled_interval(candidate, other)
        figures = {"": controlled, "_low": low, "_high": high}
        metrics |= {f"{prefix}_length_controlled{end}": value for end, value in figures.items()}
    metrics["worse"] = duels.worse_share(candidate, opponent)
    for suffix, one in (("", candidate), ("_opponent", opponent), ("_base", base)):
        metrics |= {
            f"reward{suffix}": float(one.scores.mean()),
            f"length{suffix}": float(one.lengths.mean()),
            f"eos_rate{suffix}": one.ended,
            f"repetition{suffix}": one.repetition,
            f"distinct{suffix}": one.distinct,
        }
    return metrics
