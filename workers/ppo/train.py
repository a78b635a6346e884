"""A `ppo` run: the policy learns what the reward model likes, and the best point within the KL budget is kept.

Schulman et al. 2017 as Ziegler et al. 2019 used it on language models, with one trunk for policy, reference and reward.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor

from app.runs.hyper import PpoHyper
from workers import artifacts, policy, saved_state
from workers.context import Context, IterationSpec, Stopped
from workers.drift import OFTEN, Looks, moved, shown
from workers.language import adapters
from workers.language.adapters import LoraConfig
from workers.language.errors import Stopped as SamplingStopped
from workers.language.layers import block_count, upper_blocks
from workers.language.model import load, number_format
from workers.policy import POLICY
from workers.ppo import math as ppo
from workers.ppo.judge import Judgement, gain, judge
from workers.ppo.rollout import Trunk, draw, look_at, micro_batches
from workers.ppo.update import (
    advantages_of,
    figures,
    fresh_figures,
    learn,
    minibatches_of,
    move_back,
    prompts_of_update,
    put,
    weaken,
)
from workers.prompts import Prompt, for_judging, for_training, read_prompts
from workers.reward.model import load_reward
from workers.world import World

JUDGE_SEED, FRESH_SEED = 500_000_003, 700_000_001
INSIDE = 0.95
"""To what share of the budget a kept point is drawn in whose KL proves to be over it."""
TIMES_BACK = 2
"""How often a policy whose look is beyond its KL budget goes half-way back to the kept point."""
ROOTS = (6, 3, 2, 1)
"""By which root of what it may move a kept point over its budget is drawn in, the next where one was not enough.

A few nats away the KL grows with about the seventh power of the way (decision 22), elsewhere by less; where it grows
ever faster along the way, the last is enough but for chance.
"""


@dataclass
class Progress:
    """Where training stands; written into the saved state as it is."""

    update: int = 0
    saves: int = 0


def run(spec: IterationSpec, context: Context) -> dict[str, Any]:
    """Train a policy. Raises ValueError with a sentence if prompts or reward model do not fit."""
    # 1. One trunk: the base model, the reward model on it, and the policy's adapter.
    hyper = cast(PpoHyper, spec.hyper)
    world = World(context.rank, context.world_size)
    trunk = _trunk(spec, hyper, world)
    prompts = read_prompts(trunk.lm, cast(Any, spec.prompts))
    training, judging = for_training(prompts), for_judging(prompts)
    weights = trunk.lm.adapters[POLICY].parameters()
    begin = [one.detach().clone() for one in weights]
    optimiser = torch.optim.AdamW(weights, lr=hyper.learning_rate, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    # 2. Go on where an earlier attempt was stopped or killed, or look at the starting point.
    progress, controller, value = Progress(), ppo.KlController(hyper.kl_coefficient), None
    state = world.first(lambda: saved_state.newest(spec))
    if state is None:
        first = judge(trunk, judging, hyper, JUDGE_SEED)
        context.report("judge", 0, hyper.updates, first.metrics())
        looks, kept = Looks("update", "The held-out reward has not risen", first.reward), begin
        pace = ppo.Pace.at(first.kl)
    else:
        progress, controller = Progress(**state.facts["progress"]), ppo.KlController(**state.facts["controller"])
        pace = ppo.Pace(**state.facts["pace"])
        first, looks = Judgement(**state.facts["first"]), Looks(**state.facts["looks"])
        kept = [state.tensors[f"best.{i}"] for i in range(len(weights))]
        if "value.weights" in state.tensors:
            value = ppo.RidgeValue(*(state.tensors[f"value.{name}"] for name in ppo.RidgeValue._fields))
        put(weights, [state.tensors[f"now.{i}"] for i in range(len(weights))])
        saved_state.restore_optimiser(optimiser, state.tensors)

    expected = first.eos_rate >= OFTEN

    def save() -> None:
        progress.saves += 1
        facts = {"progress": asdict(progress), "controller": controller._asdict()}
        facts["pace"] = pace._asdict()
        tensors = {f"now.{i}": one.detach() for i, one in enumerate(weights)}
        tensors |= {f"best.{i}": one for i, one in enumerate(kept)}
        tensors |= {f"value.{name}": one for name, one in value._asdict().items()} if value else {}
        tensors |= saved_state.optimiser_tensors(optimiser)
        facts |= {"first": first.to_json(), "looks": asdict(looks)}
        world.first(lambda: saved_state.save(spec, progress.saves, facts, tensors))

    while progress.update < hyper.updates and not looks.ended:
        started, text = time.monotonic(), ""
        # 3. Draw answers and look at them with policy, base model and reward model.
        asked = prompts_of_update(training, progress.update, hyper, spec.seed)
        try:
            seed = spec.seed * 1_000_003 + progress.update * hyper.batch
            drawn = draw(trunk, asked, hyper.max_new_tokens, seed, context.should_stop)
        except SamplingStopped:
            if progress.update:
                save()
            raise Stopped from None
        rows = [(one.prompt_ids, one.token_ids) for one in drawn]
        micros = micro_batches(rows, minibatches_of(len(rows), hyper.minibatches, spec.seed + progress.update), world)
        rollout = look_at(trunk, drawn, [micro for step in micros for micro in world.deal(step)], keep=True)
        # 4. What is each token worth?
        earned = rollout.rewards(hyper.score_clip, hyper.missing_eos_penalty, expected)
        advantages = advantages_of(rollout, earned, hyper, controller.beta, value)
        # 5. Learn.
        done = progress.update * hyper.epochs * hyper.minibatches
        # What the rollout found, before anything is learned from it, steers the step size and how the policy is held.
        value, kl = advantages.head, rollout.kl()
        pace = pace.update(kl, hyper.kl_target, hyper.updates)
        learned = learn(trunk, rollout, advantages.values, micros, weights, optimiser, hyper, done, pace.factor)
        metrics = figures(rollout) | advantages.metrics | learned
        metrics |= {"reward": float(earned.mean()), "beta": controller.beta, "pace": pace.factor}
        if progress.update == 0 and spec.parents.policy is None:
            metrics |= fresh_figures(rollout)
        # 6. Hold the policy near its KL target: by its weights, or by the price of the next update's KL.
        if hyper.kl_hold == "leash":
            metrics["leash"] = ppo.leash(kl, hyper.kl_target)
            weaken(trunk.lm.adapters[POLICY], metrics["leash"])
        else:
            controller = controller.update(kl, hyper.kl_target)
        progress.update += 1
        metrics["tokens_per_s"] = float(rollout.mask.sum()) / (time.monotonic() - started)
        # 7. Look at the held-out prompts now and then; keep the best point within the budget.
        if progress.update % hyper.evaluate_every == 0 or progress.update == hyper.updates:
            now = judge(trunk, judging, hyper, JUDGE_SEED, expected)
            for _ in range(TIMES_BACK):
                if now.kl <= hyper.kl_budget:
                    break
                # The KL grows by several nats between two looks, so the best point within the budget lies between them.
                text = f"{now.kl:.1f} nats are over the budget: half-way back to update {looks.best_at}."
                move_back(weights, kept, 0.5)
                now = judge(trunk, judging, hyper, JUDGE_SEED, expected)
            if looks.take(progress.update, now.reward, now, first, hyper.kl_budget, hyper.patience):
                kept = [one.detach().clone() for one in weights]
            context.samples(shown(judging, first, now))
            metrics |= now.metrics()
        context.report("ppo", progress.update, hyper.updates, metrics, looks.ended or text)
        # 8. Save, so that nothing is lost; stop if told to.
        stop = world.any(context.should_stop())
        if progress.update % hyper.save_every == 0 or stop:
            save()
        if stop:
            raise Stopped
    # 9. Measure the gain of the best point on fresh answers, which did not choose it.
    before, after = _measured(trunk, judging, hyper, expected, begin, kept if looks.best_at else None)
    context.samples(shown(judging, before, after))
    return world.first(lambda: _write(spec, trunk, before, after, len(judging), progress.update, looks))


def _measured(
    trunk: Trunk,
    judging: Sequence[Prompt],
    hyper: PpoHyper,
    expected: bool,
    begin: Sequence[Tensor],
    kept: Sequence[Tensor] | None,
) -> tuple[Judgement, Judgement]:
    """Return what fresh answers say of the start and of the kept point (None: the start), whose weights are left on.

    A kept point that proves to be over the KL budget, which the start is not, is drawn in and measured again.
    """
    weights = trunk.lm.adapters[POLICY].parameters()
    put(weights, begin)
    before = judge(trunk, judging, hyper, FRESH_SEED, expected)
    if kept is None:
        return before, before
    put(weights, kept)
    after = judge(trunk, judging, hyper, FRESH_SEED, expected)
    for attempt, root in enumerate(ROOTS, start=1):
        if after.kl <= hyper.kl_budget or before.kl > hyper.kl_budget:
            break
        # The look that chose it was lucky.
        share = ppo.drawn_in(after.kl, before.kl, INSIDE * hyper.kl_budget, root)
        move_back(weights, begin, 1 - share)
        after = judge(trunk, judging, hyper, FRESH_SEED + attempt * hyper.heldout_answers, expected)
    return before, after


def _trunk(spec: IterationSpec, hyper: PpoHyper, world: World) -> Trunk:
    """Load the base model, the reward model on it and the policy: the promoted one, or a fresh adapter."""
    lm = load(spec.base_model, world.first(lambda: number_format(spec.base_model)))
    reward, parent = spec.parents.reward, spec.parents.policy
    assert reward is not None
    model = load_reward(lm, reward.url, reward.sha256)
    if parent is None:
        lower = upper_blocks(lm, hyper.train_layers)
        layers = tuple(range(lower, block_count(lm)))
        adapters.create(lm, POLICY, LoraConfig(hyper.rank, hyper.alpha, layers=layers), spec.seed)
        return Trunk(lm, model, lower, world)
    found = adapters.attach(lm, POLICY, artifacts.read(parent.url, parent.sha256), trainable=True)
    return Trunk(lm, model, min(found.config.layers or (0,)), world)


def _write(
    spec: IterationSpec, trunk: Trunk, before: Judgement, after: Judgement, prompts: int, updates: int, looks: Looks
) -> dict[str, Any]:
    """Write the checkpoint and return the run's result."""
    hyper = cast(PpoHyper, spec.hyper)
    gained, low, high = gain(after, before, prompts)
    metrics = {
        "reward_start": before.reward,
        "reward_best": after.reward,
        "gain": gained,
        "gain_low": low,
        "gain_high": high,
        **moved(before, after),
        "updates": float(updates),
        "episodes": float(updates * hyper.batch),
        "best_update": float(looks.best_at),
    }
    figure = f"{gained:+.2f} [{low:+.2f}, {high:+.2f}] standard deviations of reward on held-out prompts"
    if not looks.best_at:
        why = "No point within the KL budget earned more reward than the start. Label more, or try a smaller step size."
    elif low <= 0:
        why = f"The policy's gain may be chance: {figure}. Train for more updates, or force the run."
    elif after.kl > hyper.kl_budget:
        far = f"The policy is {after.kl:.1f} nats from the base model; the budget is {hyper.kl_budget:g}."
        why = f"{far} Lower kl_target and start the run again."
    else:
        why = f"The policy earns {figure}, {after.kl:.1f} nats from the base model."
    passed = bool(looks.best_at) and low > 0 and after.kl <= hyper.kl_budget
    return policy.write(spec, trunk.lm, metrics, passed, f"{why} {looks.ended}".strip())
