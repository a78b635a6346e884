"""Answers that surprised the reward model, put before people again: a slip, or something it has yet to learn?"""

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.models import Comparison, Project, Prompt, Run
from app.models.policies import Labeling

AHEAD = 1
"""How much more urgent than the pair was: it comes before the stock, so that the next training hears of it."""


def ask_again(session: Session, run: Run) -> int:
    """Put the answers that surprised a `reward` run up once more, as many as the project wants; return how many.

    The run's result lists them, the most surprising first. Two responses are asked about again once; an index sees to
    that. What people chose in a chat or a product is theirs alone, and what still waits gets its answers anyway.
    """
    project = session.get_one(Project, run.project_id)
    wanted = Labeling.from_json(project.labeling).repeats
    surprising = [int(one["comparison"]) for one in run.result.get("surprising", [])]
    if project.archived_at is not None or not wanted or not surprising:
        return 0
    query = (
        select(Comparison)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .where(
            Comparison.id.in_(surprising),
            Comparison.project_id == project.id,
            Comparison.status != "waiting",
            Comparison.source.not_in(("chat", "feedback")),
            Prompt.withdrawn_at.is_(None),
        )
    )
    found = sorted(session.scalars(query), key=lambda one: surprising.index(one.id))
    added = 0
    for comparison in found:
        if added == wanted:
            break
        added += _put_up(session, comparison, run)
    return added


def _put_up(session: Session, comparison: Comparison, run: Run) -> bool:
    """Make the repeat of a comparison unless there is one of the same two responses already."""
    made = session.scalar(
        insert(Comparison)
        .values(
            project_id=comparison.project_id,
            prompt_id=comparison.prompt_id,
            response_a_id=comparison.response_a_id,
            response_b_id=comparison.response_b_id,
            purpose="repeat",
            source=comparison.source,
            priority=comparison.priority + AHEAD,
            run_id=run.id,
        )
        .on_conflict_do_nothing(
            index_elements=[
                func.least(Comparison.response_a_id, Comparison.response_b_id),
                func.greatest(Comparison.response_a_id, Comparison.response_b_id),
            ],
            index_where=text("purpose = 'repeat' AND status <> 'withdrawn'"),
        )
        .returning(Comparison.id)
    )
    return made is not None
