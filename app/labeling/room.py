"""Which comparison comes next for a person: in which order, who may judge what, and where there is still room.

The order is that of the index ix_comparisons_waiting. What stands first in it may all be closed to somebody: who works
alone where two answers are asked has answered every half-done pair. So a look goes no further than the first LOOK rows
of a group (one priority, one number of answers) before it goes on behind that group, and only at the very end through
everything.
"""

from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
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

# Every pair that anybody gets asks these questions, so they are built once, with places for whoever asks (`asker`).
PROJECT, PERSON = bindparam("project", type_=BigInteger), bindparam("person", type_=BigInteger)
_ABILITIES = bindparam("abilities", type_=ARRAY(Text))

IS_UNANSWERED: ColumnElement[bool] = (
    # Counted, because NOT EXISTS becomes a join with all that the person ever answered.
    select(func.count())
    .where(Answer.comparison_id == Comparison.id, Answer.user_id == PERSON)
    .correlate(Comparison)
    .scalar_subquery()
    == 0
)
"""Whether this person has not answered a comparison yet."""
IS_WITHIN_ABILITIES: ColumnElement[bool] = or_(
    cast(_ABILITIES, ARRAY(Text)).is_(None), Comparison.needs.contained_by(_ABILITIES)
)
"""Whether this person may judge a comparison: they have all that it needs."""
_LEASES = select(func.count()).where(
    Assignment.comparison_id == Comparison.id,
    Assignment.status == "leased",
    Assignment.leased_until > bindparam("moment", type_=DateTime(timezone=True)),
    Assignment.user_id != PERSON,
)
_IS_BELOW_OVERLAP: ColumnElement[bool] = (
    # Answers that count and live leases of others are fewer than the project asks for.
    Comparison.counted + _LEASES.correlate(Comparison).scalar_subquery() < bindparam("overlap", type_=Integer)
)
HAS_PLACE: ColumnElement[bool] = or_(
    Comparison.purpose == "gold", Comparison.asks_id == PERSON, ORDINARY & _IS_BELOW_OVERLAP
)
"""Whether one more answer of this person fits; certain only while the comparison's row is locked.

Anybody may answer a gold comparison, and a repeat of somebody's own pair is theirs alone.
"""
# Written out, the status lets Postgres use the partial index in a plan that it keeps for all parameters.
_WAITS = (Comparison.project_id == PROJECT, Comparison.status == literal_column("'waiting'"), ORDINARY)
_HEADS = select(Comparison.id, Comparison.priority, Comparison.counted).where(*_WAITS).order_by(*ORDER)
_BEHIND = tuple_(Comparison.priority, Comparison.counted) < tuple_(
    bindparam("priority", type_=Integer), bindparam("counted", type_=Integer)
)
_FIRST = (
    select(Comparison).where(*_WAITS, IS_WITHIN_ABILITIES, IS_UNANSWERED, _IS_BELOW_OVERLAP).order_by(*ORDER).limit(1)
)


def asker(access: Access) -> dict[str, Any]:
    """Who asks, now, as values of the questions of this module."""
    return {
        "project": access.project.id,
        "person": access.person.id,
        "abilities": access.person.abilities,
        "overlap": access.project.labels_per_comparison,
        "moment": now(),
    }


def first_with_room(session: Session, access: Access, *, lock: bool) -> Comparison | None:
    """The first comparison that has room for this person; with `lock` the first that nobody else has locked, locked."""
    asked = {**asker(access), "look": LOOK, "seen": LOOK - 1}
    for group in range(GROUPS):
        found = session.scalars(_in_group(group > 0, lock), asked).first()
        if found is not None:
            return found
        last = session.execute(_last_seen(group > 0), asked).first()
        if last is None and group == 0:
            return None  # everything was seen
        if last is None:
            break
        asked |= {"priority": last.priority, "counted": last.counted}
    return session.scalars(_locked(_FIRST) if lock else _FIRST, asked).first()


@cache
def _in_group(further: bool, lock: bool) -> Select[Comparison]:
    """The first comparison with room among the heads of the first group, or of what lies behind a group."""
    seen = _HEADS.where(_BEHIND if further else true()).limit(bindparam("look", type_=Integer)).subquery("seen")
    found = _FIRST.join(seen, seen.c.id == Comparison.id)
    return _locked(found) if lock else found


@cache
def _last_seen(further: bool) -> Select[int, int, int]:
    return _HEADS.where(_BEHIND if further else true()).offset(bindparam("seen", type_=Integer)).limit(1)


def _locked(query: Select[Comparison]) -> Select[Comparison]:
    return query.with_for_update(skip_locked=True, key_share=True, of=Comparison)
