"""Which comparison comes next for a person: in which order, who may judge what, and where there is still room.

The order is that of the index ix_comparisons_waiting. What stands first in it may all be closed to somebody: who works
alone where two answers are asked has answered every half-done pair. So a look goes no further than the first LOOK rows
of a group (one priority, one number of answers) before it goes on behind that group, and only at the very end through
everything.
"""

from sqlalchemy import ColumnElement, Select, func, literal_column, or_, select, true, tuple_
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.models import ORDINARY, Answer, Assignment, Comparison, now

ORDER = (
    Comparison.priority.desc(),
    Comparison.counted.desc(),
    Comparison.uncertainty.desc().nulls_last(),
    Comparison.id,
)
"""Most urgent, then those that are half done, then those the live head is least sure about, then oldest first."""
LOOK = 100
"""Rows at the head of a group that are looked at before the next group."""
GROUPS = 8
"""Groups that are looked at before everything is."""


def first_with_room(session: Session, access: Access, *, lock: bool) -> Comparison | None:
    """The first comparison that has room for this person; with `lock` the first that nobody else has locked, locked."""
    waiting = select(Comparison).where(*_waits(access))
    heads = select(Comparison.id, Comparison.priority, Comparison.counted).where(*_waits(access)).order_by(*ORDER)
    behind: ColumnElement[bool] = true()
    for group in range(GROUPS):
        seen = heads.where(behind).limit(LOOK).subquery("seen")
        found = _first(session, access, waiting.join(seen, seen.c.id == Comparison.id), lock)
        if found is not None:
            return found
        last = session.execute(heads.where(behind).offset(LOOK - 1).limit(1)).first()
        if last is None and group == 0:
            return None  # everything was seen
        if last is None:
            break
        behind = tuple_(Comparison.priority, Comparison.counted) < tuple_(last.priority, last.counted)
    return _first(session, access, waiting, lock)


def _first(session: Session, access: Access, among: Select[Comparison], lock: bool) -> Comparison | None:
    fits = (is_within_abilities(access), is_unanswered(access), _is_below_overlap(access))
    query = among.where(*fits).order_by(*ORDER).limit(1)
    if lock:
        query = query.with_for_update(skip_locked=True, key_share=True, of=Comparison)
    return session.scalars(query).first()


def _waits(access: Access) -> tuple[ColumnElement[bool], ...]:
    # Written out, the status lets Postgres use the partial index in a plan that it keeps for all parameters.
    return Comparison.project_id == access.project.id, Comparison.status == literal_column("'waiting'"), ORDINARY


def is_unanswered(access: Access) -> ColumnElement[bool]:
    """Whether this person has not answered a comparison yet."""
    # Counted, because NOT EXISTS becomes a join with all that the person ever answered.
    answers = select(func.count()).where(Answer.comparison_id == Comparison.id, Answer.user_id == access.person.id)
    return answers.correlate(Comparison).scalar_subquery() == 0


def is_within_abilities(access: Access) -> ColumnElement[bool]:
    """Whether this person may judge a comparison: they have all that it needs."""
    abilities = access.person.abilities
    return true() if abilities is None else Comparison.needs.contained_by(abilities)


def has_place(access: Access) -> ColumnElement[bool]:
    """Whether one more answer of this person fits; certain only while the comparison's row is locked.

    Anybody may answer a gold comparison, and a repeat of somebody's own pair is theirs alone.
    """
    slips_in = or_(Comparison.purpose == "gold", Comparison.asks_id == access.person.id)
    return or_(slips_in, ORDINARY & _is_below_overlap(access))


def _is_below_overlap(access: Access) -> ColumnElement[bool]:
    """Whether answers that count and live leases of others are fewer than the project asks for."""
    leases = select(func.count()).where(
        Assignment.comparison_id == Comparison.id,
        Assignment.status == "leased",
        Assignment.leased_until > now(),
        Assignment.user_id != access.person.id,
    )
    return Comparison.counted + leases.correlate(Comparison).scalar_subquery() < access.project.labels_per_comparison
