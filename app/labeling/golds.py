"""Gold comparisons: two responses of which it is known what is right about them; they test people and teach nothing."""

import math

from sqlalchemy import ColumnElement, Select, and_, exists, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from app.accounts.access import Access
from app.errors import Conflict
from app.labeling import room
from app.languages import _
from app.models import Answer, Comparison, Project

IS_RIGHT = and_(
    Answer.verdict == Comparison.expected_verdict,
    Answer.preferred.is_not_distinct_from(Comparison.expected_preferred),
)
"""Whether an answer to a gold comparison is the expected one; how much better does not matter."""


def make(session: Session, comparison: Comparison, verdict: str, preferred: str | None) -> Comparison:
    """Make a gold comparison of the same two responses; Conflict where they are gold already, or somebody's own."""
    if comparison.source in ("chat", "feedback"):
        raise Conflict(_("What people chose in a chat or a product is theirs alone, so it does not test others."))
    made: Comparison | None = session.scalar(
        insert(Comparison)
        .values(
            project_id=comparison.project_id,
            prompt_id=comparison.prompt_id,
            response_a_id=comparison.response_a_id,
            response_b_id=comparison.response_b_id,
            purpose="gold",
            source=comparison.source,
            needs=comparison.needs,
            expected_verdict=verdict,
            expected_preferred=preferred,
        )
        .on_conflict_do_nothing(
            index_elements=[
                Comparison.project_id,
                func.least(Comparison.response_a_id, Comparison.response_b_id),
                func.greatest(Comparison.response_a_id, Comparison.response_b_id),
            ],
            index_where=text("purpose = 'gold' AND status <> 'withdrawn'"),
        )
        .returning(Comparison)
    )
    if made is None:
        raise Conflict(_("These two responses are a gold comparison already. End that one first to change its answer."))
    return made


def end(session: Session, comparison: Comparison) -> None:
    """Hand a gold comparison out no more and judge nobody by it; what was answered stays, and measures nobody."""
    if comparison.purpose == "gold":
        comparison.status = "withdrawn"


def count(session: Session, project: Project) -> int:
    """How many gold comparisons a project has."""
    return session.scalar(select(func.count()).where(*_live(project.id))) or 0


def unseen_by(access: Access) -> Select[Comparison]:
    """The gold comparisons that this person may judge and whose two responses they never met."""
    found = select(Comparison).where(*_live(access.project.id), room.IS_WITHIN_ABILITIES, ~_met(access))
    return found.params(abilities=access.person.abilities)


def enough_for(session: Session, access: Access, wanted: int) -> bool:
    """Whether that many are left that this person never met."""
    some = unseen_by(access).with_only_columns(literal_column("1")).limit(wanted).subquery()
    return (session.scalar(select(func.count()).select_from(some)) or 0) >= wanted


def needed(asked: int, share: int) -> int:
    """How many of those asked have to be right for a share in per cent."""
    return math.ceil(asked * share / 100)


def _live(project_id: int) -> tuple[ColumnElement[bool], ...]:
    # Written out, so that Postgres uses the partial index uq_comparisons_one_gold whatever the parameters.
    return (
        Comparison.project_id == project_id,
        Comparison.purpose == literal_column("'gold'"),
        Comparison.status == literal_column("'waiting'"),
    )


def _met(access: Access) -> ColumnElement[bool]:
    """Whether this person answered anything about the same two responses, gold or not."""
    same = aliased(Comparison)
    return exists().where(
        same.response_a_id.in_((Comparison.response_a_id, Comparison.response_b_id)),
        same.response_b_id.in_((Comparison.response_a_id, Comparison.response_b_id)),
        Answer.comparison_id == same.id,
        Answer.user_id == access.person.id,
    )
