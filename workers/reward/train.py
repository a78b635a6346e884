"""A `reward` run: from a snapshot of answers to a reward checkpoint, its report and whether PPO may start from it.

1. Run the base model over every response once. 2. Fit the instant head, its ridge chosen over folds of prompts.
3. With enough labels, train adapters from there; keep them only if they predict unseen prompts no worse. 4. Score the
base model's own answers: they set the zero and the unit. 5. Report and write the checkpoint.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from app.runs.hyper import RewardHyper
from workers import saved_state
from workers.context import Context, IterationSpec, Stopped
from workers.language.layers import upper_blocks
from workers.language.model import LanguageModel, load, number_format
from workers.prompts import codec, encode_all, read_prompts
from workers.responses import draw
from workers.reward import data, findings, head, report
from workers.reward.adapt import adapt
from workers.reward.data import Preferences
from workers.reward.frozen import FrozenStates, read_states
from workers.reward.loss import Floats, Outcomes, preferred_probability
from workers.reward.model import POOLS, RewardModel, pooled_layer, score_all, write
from workers.reward.reliability import reliability
from workers.world import World

FEW_JUDGES = 20
"""With fewer decisive answers on held-out prompts than this, adapters are judged on a fold of the training prompts."""
REFERENCE_BATCH = 64


class InstantHead(NamedTuple):
    """The head on frozen states and what its folds say about it."""

    model: RewardModel
    spacing: Floats
    """Spacings of the thresholds, [K]."""
    ridge: float
    loss: float
    """Mean negative log-likelihood of the answers about training prompts by their folds' heads, in nats."""
    delta: Floats
    """Difference of scores for every pair, by a head that never saw the pair's prompt, [P]."""
    probability: Floats
    """P(first response preferred, given that one is) by the same head, [P]."""


def run(spec: IterationSpec, context: Context) -> dict[str, Any]:
    """Train a reward model. Raises ValueError with a sentence if the snapshot holds too little to learn from."""
    hyper, world = cast(RewardHyper, spec.hyper), World(context.rank, context.world_size)
    assert spec.snapshot is not None
    # 1. The answers, and what the base model makes of every response.
    lm = load(spec.base_model, world.first(lambda: number_format(spec.base_model)))
    table = data.read_table(spec.snapshot.url, spec.snapshot.sha256)
    preferences = data.from_table(table, codec(lm), min(hyper.max_tokens, lm.context))
    if hyper.reliability == "on":
        preferences = preferences.weighed(_reliability(preferences))
    taught = preferences.answers.sign[~preferences.holdout[preferences.answers.pair]]
    adapting = int((taught != 0).sum()) >= hyper.lora_from_labels
    layer, lower = pooled_layer(lm, hyper.depth), upper_blocks(lm, hyper.train_layers) if adapting else None
    say = partial(_say, context, "read")
    frozen = read_states(lm, preferences.rows, layer, POOLS[hyper.pooling], lower, say, world)
    # 2. The instant head.
    instant = fit_instant(lm, preferences, frozen, hyper)
    context.report("head", 1, 1, {"ridge": instant.ridge})
    # 3. Adapters from there.
    model, found = instant.model, {"adapter_steps": 0.0}
    if adapting:
        judging, start = _judges(preferences, hyper), instant
        if not preferences.holdout[preferences.answers.pair[judging]].all():
            start = fit_instant(lm, preferences, frozen, hyper, without=preferences.answers.pair[judging])
        adapted = adapt(spec, context, preferences, frozen, start.model, start.spacing, judging)
        model, found = adapted.model or model, adapted.metrics
    # 4. Zero and unit.
    model = _normalise(spec, context, world, model, table)
    # 5. Report and checkpoint.
    scores = score_all(model, preferences.rows, frozen.base, world=world).double().numpy()
    metrics = findings.figures(preferences, instant.delta, instant.probability, scores) | found
    metrics |= {"mean": model.mean, "std": model.std, "ridge": instant.ridge}
    metrics |= {"reference_samples": hyper.reference_samples}
    right = metrics["accuracy"] * metrics["n_heldout"]
    passed, why = report.gate(right, metrics["n_heldout"], metrics["length_baseline"])
    stuck = report.reached(metrics)
    if passed and stuck is not None:
        passed, why = False, stuck
    known = metrics.get("latest_answers", 0.0) >= report.FEWEST_LATEST
    gate = {"passed": passed, "why": why, "reached": stuck is not None if known else None}
    card = {
        "kind": "reward",
        "run": spec.run,
        "base_model": spec.base_model,
        "snapshot": spec.snapshot.sha256,
        "seed": spec.seed,
        "hyper": hyper.to_json(),
        "adapters": "none: the head on frozen states alone" if model.adapter is None else "trained from the head",
        "metrics": metrics,
        "gate": gate,
    }
    stats = {"samples": hyper.reference_samples, "spacing": instant.spacing.tolist()}
    sha256 = world.first(lambda: write(model, spec.output, stats, card))
    world.first(lambda: saved_state.clear(spec))
    context.report("report", 1, 1, metrics, why)
    surprising = findings.surprises(preferences, instant.probability)
    checkpoint = {"url": spec.output, "sha256": sha256}
    curve = findings.calibration(preferences, instant.probability)
    seen = {"surprising": surprising, "calibration": curve}
    return {"checkpoint": checkpoint, "metrics": metrics, "gate": gate, **seen}


def fit_instant(
    lm: LanguageModel,
    preferences: Preferences,
    frozen: FrozenStates,
    hyper: RewardHyper,
    without: np.ndarray | None = None,
) -> InstantHead:
    """Fit the head to the answers about training prompts, `without` those about some pairs.

    Each feature is centred and scaled over all responses, which needs no label.
    """
    centre, scale = frozen.pooled.mean(0), frozen.pooled.std(0) + 1e-6
    features = ((frozen.pooled - centre) / scale).double().cpu().numpy()
    differences = features[preferences.first] - features[preferences.second]
    train = ~preferences.holdout
    if without is not None:
        train = train & ~np.isin(np.arange(len(train)), without)
    outcomes = preferences.outcomes(train[preferences.answers.pair])
    pairs = np.flatnonzero(train)
    if not len(outcomes.pair):
        raise ValueError("All the answers are about held-out prompts. Label pairs for other prompts, then try again.")
    local = Outcomes(np.searchsorted(pairs, outcomes.pair), outcomes.low, outcomes.high, outcomes.weight)
    prior = head.start_spacing(local, preferences.levels)
    fold = data.folds(preferences.prompt[pairs], hyper.folds)
    found = head.cross_validate(differences[pairs], local, fold, prior, hyper.label_smoothing)
    fit = head.fit_all(differences[pairs], local, found.ridge, prior, hyper.label_smoothing)
    # A held-out prompt was seen by no head; a training prompt not by the head of its own fold.
    delta, first_threshold = differences @ fit.theta, np.full(len(train), fit.spacing[0])
    delta[pairs], first_threshold[pairs] = found.delta, found.spacing[:, 0]
    probability = preferred_probability(delta, first_threshold)
    weights = torch.tensor(fit.theta, dtype=torch.float32, device=centre.device)
    model = RewardModel(lm, pooled_layer(lm, hyper.depth), hyper.pooling, centre, scale, weights)
    return InstantHead(model, fit.spacing, found.ridge, found.losses[found.ridge], delta, probability)


def _reliability(preferences: Preferences) -> dict[str, float]:
    """Return each annotator's weight, by their answers about training prompts alone."""
    answers = preferences.answers
    teaching = np.flatnonzero(~preferences.holdout[answers.pair])
    people = [answers.annotator[index] for index in teaching]
    return reliability(answers.pair[teaching], answers.sign[teaching], people)


def _judges(preferences: Preferences, hyper: RewardHyper) -> np.ndarray:
    """Return which answers (bool [N]) stop the adapters: held-out ones, or a fold of the others if these are few."""
    answers = preferences.answers
    heldout = preferences.holdout[answers.pair]
    if int((heldout & (answers.sign != 0)).sum()) >= FEW_JUDGES:
        return heldout
    fold = data.folds(preferences.prompt, hyper.folds)[answers.pair]
    return np.asarray((fold == 0) & ~heldout)


def _normalise(
    spec: IterationSpec, context: Context, world: World, model: RewardModel, table: list[dict[str, Any]]
) -> RewardModel:
    """Return the model with the mean and the standard deviation of its scores on the base model's own answers."""
    hyper, lm = cast(RewardHyper, spec.hyper), model.lm
    prompts = read_prompts(lm, spec.prompts) if spec.prompts else encode_all(lm, data.prompts_of(table))
    scores: list[float] = []
    while len(scores) < hyper.reference_samples:
        count = min(REFERENCE_BATCH, hyper.reference_samples - len(scores))
        asked = [prompts[(len(scores) + index) % len(prompts)].ids for index in range(count)]
        drawn = draw(lm, None, asked, hyper.reference_tokens, spec.seed * 1_000_003 + len(scores), world)
        scores += score_all(model, [(one.prompt_ids, one.token_ids) for one in drawn], world=world).tolist()
        context.report("reference", len(scores), hyper.reference_samples, {})
        if world.any(context.should_stop()):
            raise Stopped
    return replace(model, mean=float(np.mean(scores)), std=max(float(np.std(scores)), 1e-6))


def _say(context: Context, phase: str, done: int, total: int) -> None:
    context.report(phase, done, total, {})
