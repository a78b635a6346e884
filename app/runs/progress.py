"""How a worker takes a run up, tells what happens in it, and hands it back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from app.models import FINISHED, TRAINING_KINDS, Project, Run, RunMetric, now
from app.models.policies import Retraining
from app.runs import facts, live, steps, warnings
from app.runs.samples import grown
from app.runs.sentences import now_doing

MOST_ATTEMPTS = 5
"""How often a run is taken up again after its worker or its training process died."""
MOST_SAMPLES = 48


@dataclass
class PutBack(Exception):
    """The run cannot go on now and goes back into the queue; the sentence says why."""

    sentence: str
    delay_seconds: int = 0
    crashed: bool = False


class Cancelled(Exception):
    """Somebody asked for the end of this run."""


class Failed(Exception):
    """The run cannot succeed; the message is a sentence that says what to do."""


def take_up(session: Session, run_id: int) -> Run | None:
    """Mark the run as running and return it; None where it ended already. The caller holds its fence.

    Raises Cancelled where that was asked for, PutBack while another training runs in the project, Failed after too
    many crashes.
    """
    run = session.scalar(select(Run).where(Run.id == run_id).with_for_update())
    if run is None or run.status in FINISHED:
        return None
    if cancel_requested(session, run_id):
        raise Cancelled
    if run.status == "running":
        # Its worker died: the fence was free although the run was under way.
        _count_crash(run, "Its worker died.")
    run.status, run.attempt = "running", max(run.attempt, 1)
    run.started_at = run.started_at or now()
    facts.begin(run)
    again = f"Taken up again after a crash: attempt {run.attempt} of {MOST_ATTEMPTS}."
    run.message = "Starts." if run.attempt == 1 else again
    project_id = run.project_id
    try:
        session.flush()
    except IntegrityError as problem:
        session.rollback()
        raise PutBack(f"Waits until run {_training_now(session, project_id)} has finished.", 3) from problem
    _tell_chain(session, run)
    live.announce(session, project_id)
    return run


def cancel_requested(session: Session, run_id: int) -> bool:
    """Whether the end of this run, or of the chain it belongs to, was asked for."""
    chain = aliased(Run)
    query = (
        select(func.coalesce(Run.cancel_requested_at, chain.cancel_requested_at))
        .outerjoin(chain, chain.id == Run.parent_id)
        .where(Run.id == run_id)
    )
    return session.scalar(query) is not None


def put_back(session: Session, run_id: int, why: PutBack) -> None:
    """Put the run back into the queue; a worker goes on where it was."""
    run = session.scalar(select(Run).where(Run.id == run_id).with_for_update())
    if run is None or run.status in FINISHED:
        return None
    if why.crashed:
        try:
            _count_crash(run, why.sentence)
        except Failed as problem:
            return steps.failed(session, run, str(problem))
    elif run.status == "running" and run.done:
        facts.interrupted(run, why.sentence)
    run.status, run.message = "queued", why.sentence
    steps.enqueue_run(session, run, why.delay_seconds)
    return live.announce(session, run.project_id)


def record(session: Session, run_id: int, lines: Sequence[dict[str, Any]]) -> None:
    """Keep what a training child said: its metrics (the same step again replaces the first), progress and samples."""
    run = session.get_one(Run, run_id)
    rows = {}
    for line in lines:
        if line["type"] == "metrics":
            run.phase, run.done, run.total = str(line["phase"]), int(line["step"]), int(line["total"])
            metrics = _finite(line.get("metrics") or {})
            run.message = str(line.get("text") or now_doing(run.phase, run.done, run.total, metrics))
            facts.reported(run, line)
            if metrics:
                rows[run.phase, run.done] = metrics
        elif line["type"] == "samples":
            run.samples = grown(run.samples, list(line["items"])[:MOST_SAMPLES], run.done)
    for (phase, step), metrics in rows.items():
        said = insert(RunMetric).values(run_id=run_id, phase=phase, step=step, metrics=metrics)
        session.execute(
            said.on_conflict_do_update(index_elements=["run_id", "phase", "step"], set_={"metrics": metrics})
        )
    live.announce(session, run.project_id)


def stop_if_wrong(session: Session, run_id: int) -> None:
    """Raise Failed with what was seen where a run looks severely wrong and the project's policy ends such runs."""
    run = session.get_one(Run, run_id)
    project = session.get_one(Project, run.project_id)
    if not Retraining.from_json(project.retraining).stop_when_wrong:
        return
    rows = list(session.scalars(select(RunMetric).where(RunMetric.run_id == run_id).order_by(RunMetric.step)))
    hyper = run.result.get("spec", {}).get("hyper", {})
    if (worst := next(iter(warnings.of(rows, hyper)), None)) is not None and worst.severe:
        raise Failed(f"{worst.sentence} The project's policy ends such a run.")


def _finite(metrics: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: a number that is none becomes null and shows as a gap."""
    return {
        name: value if isinstance(value, int | float) and math.isfinite(value) else None
        for name, value in metrics.items()
    }


def _count_crash(run: Run, why: str) -> None:
    if run.attempt >= MOST_ATTEMPTS:
        raise Failed(
            f"This run was started {run.attempt} times and its process died each time, most likely because memory ran "
            "out. Lower its batch or the length of its answers, or give the machine more memory, and start it again."
        )
    run.attempt += 1
    facts.interrupted(run, why)


def _tell_chain(session: Session, run: Run) -> None:
    chain = session.get(Run, run.parent_id) if run.parent_id else None
    if chain is not None and chain.status in ("queued", "running"):
        chain.status, chain.started_at = "running", chain.started_at or now()
        chain.message = f"The step “{steps.NAMES[run.kind]}” is running."


def _training_now(session: Session, project_id: int) -> int | None:
    return session.scalar(
        select(Run.id).where(Run.project_id == project_id, Run.status == "running", Run.kind.in_(TRAINING_KINDS))
    )
