"""Where projects stand: a line for each in the list, and what happens next on a project's own page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.access import Access, is_visible_to
from app.labeling import comparisons, desk
from app.lists import Asked, Listing, itself, page_of
from app.models import DECISIVE, TRAINING_KINDS, Answer, Project, Run, User
from app.runs.loop import Loop


@dataclass(frozen=True)
class Line:
    """A project's line in the list of projects."""

    project: Project
    waiting: int
    answers: int
    last_training: datetime | None


def listed(session: Session, person: User, asked: Asked) -> Listing[Line]:
    """A page of the projects that a person may see; archived ones only where `is:archived` is asked for."""
    words, filters = asked.parsed("is")
    archived = Project.archived_at.is_not(None) if "archived" in filters["is"] else Project.archived_at.is_(None)
    query = select(Project).where(is_visible_to(person), archived)
    for word in words:
        query = query.where(Project.name.icontains(word, autoescape=True))
    columns = {"name": func.lower(Project.name), "base": Project.base_model}
    found = page_of(session, query, Project.id, columns, asked, "/projects", "name", make=itself)
    return replace(found, rows=lines(session, found.rows))


def lines(session: Session, projects: Sequence[Project]) -> list[Line]:
    """What the list of projects says of each, in its order."""
    ids = [project.id for project in projects]
    answers = dict(
        session.execute(
            select(Answer.project_id, func.count())
            .where(Answer.project_id.in_(ids), Answer.verdict.in_(DECISIVE), ~Answer.measures)
            .group_by(Answer.project_id)
        ).all()
    )
    trained = dict(
        session.execute(
            select(Run.project_id, func.max(Run.finished_at))
            .where(Run.project_id.in_(ids), Run.kind.in_(TRAINING_KINDS), Run.status == "succeeded")
            .group_by(Run.project_id)
        ).all()
    )
    return [
        Line(project, comparisons.waiting(session, project.id), answers.get(project.id, 0), trained.get(project.id))
        for project in projects
    ]


def what_happens_next(session: Session, access: Access, loop: Loop) -> list[str]:
    """Why no pair waits, where none does, and when the model learns again."""
    if loop.waiting or access.project.archived_at is not None:
        return [loop.sentence]
    nothing = desk.why_nothing(session, access)
    why = f"{nothing.title}. {nothing.sentence}"
    return [why, loop.sentence] if loop.answers and not loop.under_way else [why]
