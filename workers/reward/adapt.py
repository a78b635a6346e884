"""Adapters for the reward model, trained from the instant head with the same likelihood, stopped by unseen prompts."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from app.runs.hyper import RewardHyper
from workers import saved_state
from workers.context import Context, IterationSpec, Stopped
from workers.language import adapters
from workers.language.adapters import LoraConfig
from workers.language.layers import block_count, upper_blocks
from workers.reward.data import Preferences
from workers.reward.frozen import FrozenStates
from workers.reward.head import subset
from workers.reward.loss import Floats, Integers, Outcomes, cut_points, expand, interval_nll, smooth
from workers.reward.model import RewardModel, score_all, with_adapter
from workers.world import ALONE, World

NAME = "reward"
MICRO_PAIRS = 4
"""Pairs whose activations are held at once."""
WARMUP_STEPS = 5
LOOKS_PER_EPOCH = 2
PATIENCE = 2
"""Training ends when unseen answers became less likely at this many looks in a row."""


@dataclass
class Point:
    """Where training stands: looks at the unseen answers give a mean loss, in nats."""

    first: float
    best: float
    best_step: int = 0
    step: int = 0
    worse: int = 0
    """At how many looks in a row it was worse than the best."""
    saves: int = 0


class Adapted(NamedTuple):
    """The outcome: the best point's model, or None where the instant head predicts unseen prompts better."""

    model: RewardModel | None
    metrics: dict[str, float]


def adapt(
    spec: IterationSpec,
    context: Context,
    preferences: Preferences,
    frozen: FrozenStates,
    start: RewardModel,
    spacing: Floats,
    judging: np.ndarray,
) -> Adapted:
    """Train adapters on the answers about training prompts, except those in `judging` (bool [N]), which stop it."""
    # 1. What teaches, and what judges.
    hyper, lm, world = cast(RewardHyper, spec.hyper), start.lm, World(context.rank, context.world_size)
    teaching = ~preferences.holdout[preferences.answers.pair] & ~judging
    outcomes = smooth(preferences.outcomes(teaching), preferences.levels, hyper.label_smoothing)
    unseen = preferences.outcomes(judging)
    lower = upper_blocks(lm, hyper.train_layers)
    # 2. Adapters whose output is zero, and a head on the last states with weight zero: the scores are the head's own.
    layers = tuple(range(lower, block_count(lm)))
    adapter = adapters.create(lm, NAME, LoraConfig(hyper.lora_rank, hyper.lora_alpha, layers=layers), spec.seed)
    assert frozen.last is not None
    model = with_adapter(start, NAME, lower, frozen.last.mean(0), frozen.last.std(0) + 1e-6)
    fixed, last = start.weights, nn.Parameter(torch.zeros_like(frozen.last[0]))
    parameters = [*adapter.parameters(), last]
    optimiser = torch.optim.AdamW(parameters, lr=hyper.lora_learning_rate, betas=(0.9, 0.95), weight_decay=0.0)

    def now() -> RewardModel:
        return replace(model, weights=torch.cat([fixed, last]))

    def look() -> float:
        found = unseen_nll(now(), preferences, frozen, unseen, spacing, world)
        return world.first(lambda: found)

    pairs = np.unique(outcomes.pair)
    epochs = [plan(preferences.prompt, pairs, hyper.batch_answers, spec.seed + k) for k in range(hyper.lora_epochs)]
    steps = [step for epoch in epochs for step in epoch]
    look_every = max(1, math.ceil(len(epochs[0]) / LOOKS_PER_EPOCH))
    # 3. Go on where an earlier attempt was stopped or killed, or begin.
    state = world.first(lambda: saved_state.newest(spec))
    if state is not None:
        at, best = Point(**state.facts), [state.tensors[f"best.{i}"] for i in range(len(parameters))]
        _put(parameters, [state.tensors[f"now.{i}"] for i in range(len(parameters))])
        saved_state.restore_optimiser(optimiser, state.tensors)
    else:
        first = look()
        at, best = Point(first=first, best=first), [one.detach().clone() for one in parameters]

    def save() -> None:
        at.saves += 1
        tensors = {f"now.{i}": one.detach() for i, one in enumerate(parameters)}
        tensors |= {f"best.{i}": one for i, one in enumerate(best)}
        tensors |= saved_state.optimiser_tensors(optimiser)
        world.first(lambda: saved_state.save(spec, at.saves, asdict(at), tensors))

    while at.step < len(steps) and at.worse < PATIENCE:
        # 4. One step, and now and then a look at the unseen prompts.
        for group in optimiser.param_groups:
            group["lr"] = hyper.lora_learning_rate * schedule(at.step, len(steps))
        optimiser.zero_grad()
        loss = learn(now, preferences, frozen, outcomes, spacing, steps[at.step], hyper.centring, world)
        world.add_gradients(parameters)
        gradient = float(nn.utils.clip_grad_norm_(parameters, 1.0))
        if math.isfinite(gradient):
            optimiser.step()
        at.step += 1
        metrics = {"loss": sum(world.gather([loss])), "grad_norm": gradient}
        if at.step % look_every == 0 or at.step == len(steps):
            metrics["nll"] = nll = look()
            at.worse = 0 if nll <= at.best else at.worse + 1
            if nll <= at.best:
                at.best, at.best_step, best = nll, at.step, [one.detach().clone() for one in parameters]
        context.report("adapters", at.step, len(steps), metrics)
        # 5. Save, so that nothing is lost; stop if told to.
        stop = world.any(context.should_stop())
        if at.step % hyper.save_every == 0 or stop:
            save()
        if stop:
            raise Stopped
    # 6. Back to the best point; the instant head stays alone where no point was better.
    _put(parameters, best)
    found = {"adapter_steps": float(at.best_step), "nll_head": at.first, "nll_adapters": at.best}
    return Adapted(now() if at.best_step else None, found)


def learn(
    now: Callable[[], RewardModel],
    preferences: Preferences,
    frozen: FrozenStates,
    outcomes: Outcomes,
    spacing: Floats,
    step: Sequence[Integers],
    centring: float,
    world: World = ALONE,
) -> float:
    """Add this process's part of one step's gradient to the parameters, a few pairs at a time.

    Returns its part of the loss per answer; the step's loss and gradient are the sums over all processes.

    The loss depends on the parameters through the scores alone, so its gradient by the scores is taken from
    `loss.expand` and handed to the backward pass.
    """
    total = float(outcomes.weight[np.isin(outcomes.pair, np.concatenate(step))].sum())
    value = 0.0
    for pairs in world.deal(step):
        rows, position = np.unique(
            np.concatenate([preferences.first[pairs], preferences.second[pairs]]), return_inverse=True
        )
        a, b = position[: len(pairs)], position[len(pairs) :]
        scores = now().scores([preferences.rows[row] for row in rows], frozen.base(rows.tolist()))
        score = scores.detach().double().cpu().numpy()
        loss = expand(score[a] - score[b], spacing, about(outcomes, pairs))
        centre = 2 * centring * (score[a] + score[b])
        gradient = np.zeros(len(rows))
        np.add.at(gradient, a, loss.by_delta + centre)
        np.add.at(gradient, b, centre - loss.by_delta)
        torch.autograd.backward(scores, torch.tensor(gradient / total, dtype=scores.dtype, device=scores.device))
        value += loss.value
    return value / total


def plan(prompt: Integers, pairs: Integers, batch: int, seed: int) -> list[list[Integers]]:
    """Return the steps of one epoch, each a list of micro-batches of pairs; no prompt is split over two steps.

    `prompt` [P] says what each pair is about. A step ends once it has `batch` pairs; within it a micro-batch takes
    whole prompts until it has MICRO_PAIRS.
    """
    of_prompt: dict[int, list[int]] = {}
    for pair in pairs.tolist():
        of_prompt.setdefault(int(prompt[pair]), []).append(pair)
    order = sorted(of_prompt)
    random.Random(seed).shuffle(order)
    steps: list[list[Integers]] = []
    filled = batch
    for one in order:
        if filled >= batch:
            steps.append([])
            filled = 0
        micro = steps[-1]
        if micro and len(micro[-1]) < MICRO_PAIRS:
            micro[-1] = np.array([*micro[-1], *of_prompt[one]], dtype=np.int64)
        else:
            micro.append(np.array(of_prompt[one], dtype=np.int64))
        filled += len(of_prompt[one])
    return steps


def about(outcomes: Outcomes, pairs: Integers) -> Outcomes:
    """Return the outcomes about some pairs, renumbered by their place in `pairs`."""
    place = {int(pair): index for index, pair in enumerate(pairs)}
    chosen = subset(outcomes, np.isin(outcomes.pair, pairs))
    return chosen._replace(pair=np.array([place[int(pair)] for pair in chosen.pair], dtype=np.int64))


def unseen_nll(
    model: RewardModel,
    preferences: Preferences,
    frozen: FrozenStates,
    unseen: Outcomes,
    spacing: Floats,
    world: World = ALONE,
) -> float:
    """Return the mean negative log-likelihood of the unseen answers in nats."""
    pairs = np.unique(unseen.pair)
    needed = np.unique(np.concatenate([preferences.first[pairs], preferences.second[pairs]])).tolist()
    score = np.zeros(len(preferences.rows))
    score[needed] = score_all(model, preferences.rows, frozen.base, needed, world).numpy()
    delta = (score[preferences.first] - score[preferences.second])[unseen.pair]
    cuts = cut_points(spacing)
    nll = interval_nll(delta, cuts[unseen.low], cuts[unseen.high]).nll
    return float(unseen.weight @ nll / unseen.weight.sum())


def schedule(step: int, total: int) -> float:
    """Return the share of the learning rate at a step: up over the first steps, then down to 5 % in a line."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * max(0.05, 1 - step / total)


def _put(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
