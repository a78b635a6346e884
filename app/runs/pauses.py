"""The pause of a project: while it lasts nothing starts by itself, and what runs may end or is cancelled."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import FINISHED, Project, Run, now
from app.queue import enqueue
from app.runs import live, runs

STARTED_BY_PEOPLE = ("import", "export")
"""What goes on through a pause: people wait for their files."""


def begin(session: Session, project: Project, *, cancel: bool = False) -> None:
    """Let nothing start by itself from now on; with `cancel` also end what is under way."""
    project.paused_at = project.paused_at or now()
    if cancel:
        under_way = select(Run).where(
            Run.project_id == project.id,
            Run.status.not_in(FINISHED),
            Run.kind.not_in(STARTED_BY_PEOPLE),
            Run.parent_id.is_(None),
        )
        for run in session.scalars(under_way.order_by(Run.id)).all():
            runs.cancel(session, run)
    live.announce(session, project.id)


def end(session: Session, project: Project) -> None:
    """Let things start by themselves again: pairs at once, a chain that is due within a minute."""
    project.paused_at = None
    enqueue(session, "refill", project_id=project.id)
    live.announce(session, project.id)
