"""Choices made outside the label page (in a chat, by a product's own users): a comparison that is answered already."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import DECISIVE, Answer, Comparison, GuidelineVersion, Project, User
from app.runs import due


def keep(
    session: Session,
    project: Project,
    comparison: Comparison,
    person: User,
    *,
    verdict: str,
    source: str,
    preferred: str | None = None,
    strength: int | None = None,
    **more: Any,
) -> Answer:
    """Store a choice with its source and complete the comparison: nobody else is asked about it.

    `preferred` is "a" or "b", the comparison's own names. A product's users are no annotators of ours, so their
    choices (source `feedback`) name nobody; a simulated annotator's stay marked.
    """
    answer = Answer(
        project_id=project.id,
        comparison_id=comparison.id,
        user_id=None if source == "feedback" else person.id,
        verdict=verdict,
        preferred=preferred,
        strength=(strength or 2) if verdict == "preferred" else None,
        source=source,
        simulated=person.kind == "simulated",
        guideline_version=session.scalar(
            select(func.max(GuidelineVersion.version)).where(GuidelineVersion.project_id == project.id)
        ),
        **more,
    )
    comparison.status = "complete"
    comparison.counted = int(verdict in DECISIVE)
    session.add(answer)
    session.flush()
    due.after_answer(session, project)
    return answer
