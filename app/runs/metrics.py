"""What a run reported while it trained."""

from itertools import groupby

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Run, RunMetric


def of(session: Session, run: Run) -> list[RunMetric]:
    """A run's reports: phases in the order in which they began, steps in theirs."""
    began = (
        select(RunMetric.phase, func.min(RunMetric.created_at).label("began"))
        .where(RunMetric.run_id == run.id)
        .group_by(RunMetric.phase)
        .subquery()
    )
    query = (
        select(RunMetric)
        .join(began, began.c.phase == RunMetric.phase)
        .where(RunMetric.run_id == run.id)
        .order_by(began.c.began, RunMetric.phase, RunMetric.step)
    )
    return list(session.scalars(query))


def by_phase(rows: list[RunMetric]) -> dict[str, list[RunMetric]]:
    """The reports of each phase, in their order."""
    return {phase: list(group) for phase, group in groupby(rows, key=lambda row: row.phase)}


def seconds_left(run: Run, rows: list[RunMetric]) -> float | None:
    """How long the phase under way still takes at its pace so far; None while that cannot be said."""
    mine = [row for row in rows if row.phase == run.phase]
    if run.status != "running" or len(mine) < 2 or run.total <= mine[-1].step:
        return None
    pace = (mine[-1].created_at - mine[0].created_at).total_seconds() / (mine[-1].step - mine[0].step)
    return pace * (run.total - mine[-1].step)
