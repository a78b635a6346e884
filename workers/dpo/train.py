"""A `dpo` run: from a snapshot of answers straight to a policy, and the best point within the KL budget is kept.

Rafailov et al. 2023, with the base model as reference: the same trunk with the adapter off. It starts at the base model
and learns from all answers, as a reward model does, so that it can be compared with reward model and PPO together.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from app.runs.hyper import DpoHyper
from workers import policy, saved_state
from workers.context import Context, IterationSpec, Stopped
from workers.dpo.choices import Choices, choices_of
from workers.dpo.loss import choice_loss, implicit_reward, right_share
from workers.dpo.reference import Reference, read_reference
from workers.drift import Drift, Looks, measure, moved, shown
from workers.language import adapters
from workers.language.adapters import LoraConfig
from workers.language.layers import block_count, upper_blocks
from workers.language.model import load, number_format
from workers.policy import POLICY
from workers.ppo.update import EXACT, ROUNDED, check, check_mask, put
from workers.prompts import codec, encode_all, for_judging, read_prompts
from workers.reward import data
from workers.reward.adapt import plan, schedule
from workers.reward.loss import Integers
from workers.reward.model import BATCH
from workers.reward.report import wilson
from workers.world import ALONE, World

JUDGE_SEED, FRESH_SEED = 500_000_003, 700_000_001


@dataclass
class Progress:
    """Where training stands; written into the saved state as it is."""

    step: int = 0
    saves: int = 0


class Unseen(NamedTuple):
    """What the policy makes of choices that it does not learn from."""

    loss: float
    """Mean of -log sigmoid(lead) in nats; a policy that has learned nothing has ln 2."""
    accuracy: float
    margin: float
    """Mean lead of the preferred response in implicit reward."""

    def metrics(self) -> dict[str, float]:
        """Return the figures to be reported."""
        return {f"{name}_heldout": value for name, value in self._asdict().items()}


def run(spec: IterationSpec, context: Context) -> dict[str, Any]:
    """Train a policy. Raises ValueError with a sentence if the snapshot holds too little to learn from."""
    hyper, world = cast(DpoHyper, spec.hyper), World(context.rank, context.world_size)
    assert spec.snapshot is not None
    # 1. The choices, and what the base model says of every response.
    lm = load(spec.base_model, world.first(lambda: number_format(spec.base_model)))
    table = data.read_table(spec.snapshot.url, spec.snapshot.sha256)
    preferences = data.from_table(table, codec(lm), min(hyper.max_tokens, lm.context))
    teaching, unseen = choices_of(preferences)
    prompts = for_judging(read_prompts(lm, spec.prompts) if spec.prompts else encode_all(lm, data.prompts_of(table)))
    lower = upper_blocks(lm, hyper.train_layers)
    reference = read_reference(lm, preferences.rows, lower, partial(_say, context, world), world)
    # 2. The policy's adapter, whose output is zero at first, and the steps it will take.
    layers = tuple(range(lower, block_count(lm)))
    weights = adapters.create(lm, POLICY, LoraConfig(hyper.rank, hyper.alpha, layers=layers), spec.seed).parameters()
    begin = [one.detach().clone() for one in weights]
    optimiser = torch.optim.AdamW(weights, lr=hyper.learning_rate, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    pairs = np.unique(teaching.pair)
    epochs = [plan(preferences.prompt, pairs, hyper.batch_answers, spec.seed + epoch) for epoch in range(hyper.epochs)]
    steps = [step for epoch in epochs for step in epoch]
    look = partial(measure, lm, POLICY, prompts, hyper.heldout_answers, hyper.max_new_tokens, world=world)
    # 3. Go on where an earlier attempt was stopped or killed, or look at the starting point.
    progress, state = Progress(), world.first(lambda: saved_state.newest(spec))
    if state is None:
        fresh, first = check_fresh(reference, unseen), look(JUDGE_SEED)
        start = judge(reference, unseen, hyper, world).loss
        context.report("judge", 0, len(steps), first.metrics() | {"loss_heldout": start} | fresh)
        looks, kept = Looks("step", "The loss on unseen choices has not fallen", -start), begin
    else:
        progress, looks = Progress(**state.facts["progress"]), Looks(**state.facts["looks"])
        first = Drift(**state.facts["first"])
        kept = [state.tensors[f"best.{i}"] for i in range(len(weights))]
        put(weights, [state.tensors[f"now.{i}"] for i in range(len(weights))])
        saved_state.restore_optimiser(optimiser, state.tensors)

    def save() -> None:
        progress.saves += 1
        facts = {"progress": asdict(progress), "looks": asdict(looks), "first": first.to_json()}
        tensors = {f"now.{i}": one.detach() for i, one in enumerate(weights)}
        tensors |= {f"best.{i}": one for i, one in enumerate(kept)}
        tensors |= saved_state.optimiser_tensors(optimiser)
        world.first(lambda: saved_state.save(spec, progress.saves, facts, tensors))

    while progress.step < len(steps) and not looks.ended:
        # 4. One step.
        for group in optimiser.param_groups:
            group["lr"] = hyper.learning_rate * schedule(progress.step, len(steps))
        optimiser.zero_grad()
        metrics = learn(reference, teaching, steps[progress.step], hyper, world)
        world.add_gradients(weights)
        metrics["grad_norm"] = float(nn.utils.clip_grad_norm_(weights, 1.0))
        if math.isfinite(metrics["grad_norm"]):
            optimiser.step()
        progress.step += 1
        # 5. Look at unseen choices and held-out prompts now and then; keep the best point within the budget.
        if progress.step % hyper.evaluate_every == 0 or progress.step == len(steps):
            now, found = look(JUDGE_SEED), judge(reference, unseen, hyper, world)
            metrics |= now.metrics() | found.metrics()
            context.samples(shown(prompts, first, now))
            if looks.take(progress.step, -found.loss, now, first, hyper.kl_budget, hyper.patience):
                kept = [one.detach().clone() for one in weights]
        context.report("dpo", progress.step, len(steps), metrics, looks.ended)
        # 6. Save, so that nothing is lost; stop if told to.
        stop = world.any(context.should_stop())
        if progress.step % hyper.save_every == 0 or stop:
            save()
        if stop:
            raise Stopped
    # 7. Measure the best point on fresh answers, which did not choose it.
    put(weights, begin)
    before = look(FRESH_SEED)
    put(weights, kept)
    after = look(FRESH_SEED) if looks.best_at else before
    context.samples(shown(prompts, before, after))
    metrics = _metrics(judge(reference, unseen, hyper, world), len(unseen.pair), before, after)
    metrics |= {"steps": float(progress.step), "best_step": float(looks.best_at)}
    passed, why = gate(metrics, hyper)
    return world.first(lambda: policy.write(spec, lm, metrics, passed, f"{why} {looks.ended}".strip()))


def learn(
    reference: Reference, teaching: Choices, step: Sequence[Integers], hyper: DpoHyper, world: World = ALONE
) -> dict[str, float]:
    """Add this process's part of one step's gradient to the policy, a few pairs at a time.

    Returns the whole step's figures per choice. `step` holds the pairs as micro-batches, which are dealt to the
    processes. Raises RuntimeError if a mask does not count the responses' tokens.
    """
    count = len(teaching.about(np.concatenate(step)).pair)
    loss, leads = 0.0, []
    for pairs in world.deal(step):
        choices = teaching.about(pairs)
        lead = leads_of(reference, choices, hyper.beta)
        margin = hyper.strength_margin * torch.tensor(choices.strength, dtype=lead.dtype, device=lead.device)
        part = choice_loss(lead, margin, hyper.label_smoothing).sum() / count
        torch.autograd.backward(part)
        loss += float(part.detach())
        leads.append(lead.detach().cpu())
    lead = torch.cat(world.gather(leads))
    return {"loss": sum(world.gather([loss])), "accuracy": right_share(lead), "margin": float(lead.mean())}


def leads_of(reference: Reference, choices: Choices, beta: float) -> Tensor:
    """Return by how much the preferred response of each choice leads in implicit reward, [A]; each is read once."""
    rows, place = np.unique(np.concatenate([choices.chosen, choices.rejected]), return_inverse=True)
    logp, counted = reference.policy_logp(rows.tolist())
    check_mask(counted, sum(len(reference.rows[row][1]) for row in rows))
    reward = implicit_reward(logp, reference.logp[rows].to(logp.device), beta)
    chosen, rejected = torch.as_tensor(place.reshape(2, -1), device=logp.device)
    return reward[chosen] - reward[rejected]


def judge(reference: Reference, unseen: Choices, hyper: DpoHyper, world: World = ALONE) -> Unseen:
    """Return what the policy as it is now makes of the unseen choices."""
    pairs = np.unique(unseen.pair)
    with torch.no_grad():
        batches = [unseen.about(pairs[start : start + BATCH]) for start in range(0, len(pairs), BATCH)]
        own = [leads_of(reference, batch, hyper.beta).cpu() for batch in world.share(batches)]
    lead = torch.cat(world.gather(own))
    loss = choice_loss(lead, torch.zeros_like(lead), 0.0)
    return world.first(lambda: Unseen(float(loss.mean()), right_share(lead), float(lead.mean())))


def check_fresh(reference: Reference, unseen: Choices) -> dict[str, float]:
    """Return how far a policy that has learned nothing is from the reference, in nats per token: not at all.

    Raises RuntimeError if it is further away than rounding explains.
    """
    rows = np.unique(np.concatenate([unseen.chosen, unseen.rejected]))[:BATCH].tolist()
    with torch.no_grad():
        logp, tokens = reference.policy_logp(rows)
    gap = float((logp.cpu() - reference.logp[rows]).abs().sum()) / tokens
    check("A fresh policy's log-probabilities", gap, EXACT, ROUNDED, reference.lm.dtype)
    return {"reference_gap": gap}


def gate(metrics: dict[str, float], hyper: DpoHyper) -> tuple[bool, str]:
    """Say whether the policy learned what people choose, with a sentence that says why or what to do."""
    share, low, high = metrics["accuracy"], metrics["accuracy_low"], metrics["accuracy_high"]
    figure = f"{share:.0%} [{low:.0%}, {high:.0%}] of {metrics['n_heldout']:.0f} unseen choices"
    if not metrics["best_step"]:
        return False, "No point within the KL budget predicts unseen choices better than the start. Label more."
    if low <= 0.5:
        return False, f"What the policy learned may be chance: it agrees with {figure}. Label more and train again."
    if metrics["kl"] > hyper.kl_budget:
        far = f"The policy is {metrics['kl']:.1f} nats from the base model; the budget is {hyper.kl_budget:g}."
        return False, f"{far} Raise beta and start the run again."
    return True, f"The policy agrees with {figure}, {metrics['kl']:.1f} nats from the base model."


def _metrics(found: Unseen, choices: int, before: Drift, after: Drift) -> dict[str, float]:
    low, high = wilson(found.accuracy * choices, choices)
    return {
        "accuracy": found.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "n_heldout": float(choices),
        "nll": found.loss,
        "margin": found.margin,
        **moved(before, after),
    }


def _say(context: Context, world: World, done: int, rows: int) -> None:
    context.report("read", done, rows, {})
    if world.any(context.should_stop()):
        raise Stopped
