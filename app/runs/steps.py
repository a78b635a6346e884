"""What follows what: reward → ppo → evaluate → promotion → sample, each made in the transaction that ended the last."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.checkpoints import checkpoints, gates, trials
from app.languages import N_
from app.models import TRAINING_KINDS, Answer, Checkpoint, Project, Run, now
from app.models.policies import Gates
from app.queue import DEFAULT, TRAIN, enqueue
from app.runs import live

FIRST = "reward"
AFTER = {"reward": "ppo", "ppo": "evaluate", "evaluate": "sample"}
NAMES = {
    "reward": N_("reward model"),
    "ppo": N_("PPO"),
    "dpo": N_("DPO"),
    "evaluate": N_("evaluation"),
    "sample": N_("sampling"),
}


def enqueue_run(session: Session, run: Run, delay_seconds: int = 0) -> None:
    """Put the run's job on the queue; training waits behind the project's other training."""
    if run.kind in TRAINING_KINDS:
        lock = f"train-{run.project_id}"
        enqueue(session, "train", TRAIN, lock=lock, delay_seconds=delay_seconds, run_id=run.id)
    else:
        enqueue(session, run.kind, DEFAULT, delay_seconds=delay_seconds, run_id=run.id)


def begin_chain(session: Session, chain: Run) -> None:
    """Make the chain's first step."""
    take_count(session, chain)
    _make_step(session, chain, FIRST, {})


def take_count(session: Session, run: Run) -> None:
    """Note up to which answer this run took count; the retraining policy counts on from there."""
    newest = session.scalar(select(func.max(Answer.id)).where(Answer.project_id == run.project_id))
    run.result = {**run.result, "answers_until": newest or 0}


def trained(session: Session, run: Run, result: dict[str, Any]) -> None:
    """Take in what a training child made: its checkpoint, its gate's verdict, and what follows from both."""
    policy = Gates.from_json(session.get_one(Project, run.project_id).gates)
    budget = run.result.get("spec", {}).get("hyper", {}).get("kl_budget")
    known = {"forced": bool(run.params.get("force")), "kl_budget": budget}
    gate = gates.judge(run.kind, result.get("gate"), result.get("metrics", {}), policy, **known)
    result = {**result, "gate": gate}
    if "checkpoint" in result:
        made = checkpoints.register(session, run, result)
        result["checkpoint"] = {**result["checkpoint"], "id": str(made.id)}
        if run.kind == "reward" and gates.is_open(gate):
            checkpoints.promote(session, None, made, run)
    if run.kind == "evaluate":
        candidate = session.get_one(Checkpoint, int(run.params["checkpoint"]))
        candidate.metrics, candidate.gate = {**candidate.metrics, **result["metrics"]}, gate
        trials.recall(session, candidate)
    succeeded(session, run, result, gates.sentence(gate))


def succeeded(session: Session, run: Run, result: dict[str, Any], message: str) -> None:
    """End the run well and start what follows it in its chain."""
    _end(session, run, "succeeded", message)
    run.result = {**run.result, **result}
    chain = _chain_of(session, run)
    if chain is not None:
        _go_on(session, chain, run)


def failed(session: Session, run: Run, error: str) -> None:
    """End the run with a sentence that says what went wrong and what to do; its chain ends with it."""
    _end(session, run, "failed", "")
    run.error = error
    chain = _chain_of(session, run)
    if chain is not None:
        failed(session, chain, f"The step “{NAMES[run.kind]}” failed: {error}")


def cancelled(session: Session, run: Run) -> None:
    """End the run because somebody asked for it; its chain ends with it."""
    _end(session, run, "cancelled", "Cancelled.")
    chain = _chain_of(session, run)
    if chain is not None:
        cancelled(session, chain)


def _end(session: Session, run: Run, status: str, message: str) -> None:
    run.status, run.message, run.finished_at = status, message, now()
    live.announce(session, run.project_id)


def _chain_of(session: Session, run: Run) -> Run | None:
    """The chain that waits for this run, locked; None for a run on its own or a chain that ended already."""
    if run.parent_id is None:
        return None
    return session.scalar(
        select(Run)
        .where(Run.id == run.parent_id, Run.status.in_(("queued", "running")))
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def _go_on(session: Session, chain: Run, step: Run) -> None:
    """Make the chain's next step, or end the chain where a gate says no, somebody cancelled it or all is done."""
    gate = step.result.get("gate")
    if chain.cancel_requested_at is not None:
        return cancelled(session, chain)
    if gate is not None and not gates.is_open(gate):
        return failed(session, chain, gates.stop_sentence(NAMES[step.kind], gate))
    if step.kind == "evaluate":
        candidate = session.get_one(Checkpoint, int(step.params["checkpoint"]))
        if (waits := _waits(session, candidate, gate or {})) is not None:
            return succeeded(session, chain, {}, waits)
        checkpoints.promote(session, None, candidate, step)
    if step.kind not in AFTER:
        return succeeded(session, chain, {}, "The new policy is promoted and has written the next pairs.")
    return _make_step(session, chain, AFTER[step.kind], _handed_on(step))


def _waits(session: Session, candidate: Checkpoint, gate: dict[str, Any]) -> str | None:
    """Why a candidate that the evaluation let through is not promoted yet; None where it is, or was forced."""
    policy = Gates.from_json(session.get_one(Project, candidate.project_id).gates)
    if gate.get("forced"):
        return None
    if policy.people:
        trials.begin(session, candidate, policy.people, promotes=policy.automatic)
        return f"Checkpoint {candidate.id} waits until people have compared {policy.people} of its answers blindly."
    if not policy.automatic:
        return f"Checkpoint {candidate.id} is past all gates and waits for somebody to promote it."
    return None


def _handed_on(step: Run) -> dict[str, Any]:
    """What a step gives the next one: PPO the reward model just made, the evaluation the policy just made."""
    if step.kind == "evaluate":
        return {}
    return {{"reward": "reward", "ppo": "checkpoint"}[step.kind]: step.result["checkpoint"]["id"]}


def _make_step(session: Session, chain: Run, kind: str, handed_on: dict[str, Any]) -> None:
    params: dict[str, Any] = {name: chain.params[name] for name in ("force", "seed", "preset") if name in chain.params}
    if kind in chain.params.get("hyper", {}):
        params["hyper"] = chain.params["hyper"][kind]
    step = Run(
        project_id=chain.project_id,
        kind=kind,
        trigger="chain",
        params={**({} if kind == "sample" else params), **handed_on},
        parent_id=chain.id,
        requested_by_id=chain.requested_by_id,
    )
    session.add(step)
    if kind == "reward":
        take_count(session, step)
    session.flush()
    chain.message = f"Waits for a worker to start the step “{NAMES[kind]}”."
    enqueue_run(session, step)
    live.announce(session, chain.project_id)
