"""Who looks at which comparison, on which side, and until when: claim, heartbeat, release.

What must never happen is held by the tables (one assignment per comparison and person, one lease per person and
project) and by two locks, always taken in this order: the person's own in the project, then the comparison's row.
Claiming never waits for a comparison, so two requests cannot wait for each other.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, DateTime, Text, bindparam, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from app.accounts.access import ROLES_HERE, Access, allow
from app.errors import Conflict, Gone, NotFound
from app.labeling import pauses, rounds, slips
from app.labeling.room import HAS_PLACE, PERSON, PROJECT, asker, first_with_room
from app.languages import _
from app.models import Assignment, Base, Comparison, Project, Prompt, Response, User, now
from app.runs import due

LEASE = timedelta(minutes=15)
"""How long a lease lasts after the last sign of life."""
PAUSES = (0.0, 0.0, 0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Seconds before each look for a comparison, while all that has room is locked by others."""

# The statements of every claim and every answer, built once.
_TURN = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("turn", type_=Text), 0)))
_MINE = (Assignment.project_id == PROJECT, Assignment.user_id == PERSON)
_LAST = select(Assignment.id).where(*_MINE).order_by(Assignment.claimed_at.desc()).limit(1).scalar_subquery()
_HELD_AND_LAST = (
    select(Assignment, Assignment.id == _LAST)
    .where(*_MINE, or_(Assignment.status == "leased", Assignment.id == _LAST))
    .execution_options(populate_existing=True)
)
_COMPARISON = bindparam("comparison", type_=BigInteger)
_HAS_PLACE = select(HAS_PLACE).where(Comparison.id == _COMPARISON)
_NEW = {
    "project_id": PROJECT,
    "comparison_id": Comparison.id,
    "user_id": PERSON,
    "shown_left": bindparam("left", type_=Text),
    "status": literal("leased"),
    "leased_until": bindparam("until", type_=DateTime(timezone=True)),
    "claimed_at": bindparam("moment", type_=DateTime(timezone=True)),
}
# Into the table and not the class, because SQLAlchemy makes an INSERT of a class anew each time.
_ASSIGNMENTS = Base.metadata.tables["assignments"]
_INSERT = insert(_ASSIGNMENTS).from_select(
    list(_NEW),
    select(*_NEW.values()).where(Comparison.id == _COMPARISON, HAS_PLACE),
)
_LEASE = (
    select(Assignment)
    .from_statement(
        # The side is drawn by lot once: who let it go and gets it again finds both responses where they were.
        _INSERT.on_conflict_do_update(
            index_elements=["comparison_id", "user_id"],
            set_={name: _INSERT.excluded[name] for name in ("status", "leased_until", "claimed_at")},
        ).returning(_ASSIGNMENTS)
    )
    .execution_options(populate_existing=True)
)
_FOUND = (
    select(Assignment, Project, ROLES_HERE)
    .join(Project, Project.id == Assignment.project_id)
    .where(Assignment.id == bindparam("assignment", type_=BigInteger), Assignment.user_id == PERSON)
)
_A, _B = aliased(Response), aliased(Response)
_PAIR = (
    select(Prompt.messages, _A.id, _A.text, _B.id, _B.text)
    .select_from(Comparison)
    .join(Prompt, Prompt.id == Comparison.prompt_id)
    .join(_A, _A.id == Comparison.response_a_id)
    .join(_B, _B.id == Comparison.response_b_id)
    .where(Comparison.id == _COMPARISON)
)


@dataclass(frozen=True)
class Shown:
    """One response as people see it: what it says and nothing of who wrote it."""

    id: int
    text: str


@dataclass(frozen=True)
class Pair:
    """A comparison as it is shown: the conversation, and the responses on their sides."""

    messages: list[dict[str, Any]]
    left: Shown
    right: Shown


def claim(session: Session, access: Access) -> Assignment | None:
    """Lease the next comparison to this person: the one they hold, else the most urgent and oldest that has room.

    Before the first one comes the qualification round, and in the place of some what slips in. Where nothing is left,
    new pairs are sampled if the project's stock asks for them.
    """
    if is_stopped(session, access):
        return None
    one_at_a_time(session, access)
    held, last = _held_and_last(session, access)
    if held is not None:
        if held.leased_until > now() and held.comparison.status == "waiting":
            held.leased_until = now() + LEASE
            return held
        held.status = "expired"
        session.flush()
    let_go = last if last is not None and last.status in ("released", "expired") else None
    if let_go is not None and let_go.comparison.measures and let_go.comparison.status == "waiting":
        return _lease(session, access, let_go.comparison)
    return _practice(session, access) or _next(session, access, may_slip=let_go is None)


def is_stopped(session: Session, access: Access) -> bool:
    """Whether nothing at all is handed out: to anybody in an archived project, or to this person."""
    return (
        access.project.archived_at is not None
        or pauses.reason(session, access) is not None
        or rounds.stage(session, access) == "short"
    )


def _practice(session: Session, access: Access) -> Assignment | None:
    """The next gold comparison of the qualification round, where that is due or open."""
    stage = rounds.stage(session, access)
    if stage == "due":
        rounds.begin(session, access)
    elif stage != "open":
        return None
    gold = slips.gold(session, access)
    if gold is None:
        rounds.give_up(session, access)
        return None
    return _lease(session, access, gold)


def _next(session: Session, access: Access, *, may_slip: bool) -> Assignment | None:
    """The next pair that waits or, where something may, what slips in instead.

    Who comes back after letting a pair go gets none: that it is another one would tell what it is.
    """
    for pause in PAUSES:
        # Whoever claims or answers at this very moment has its row locked, so what looks like nothing left may have
        # room a moment later. Waiting for the lock instead could end in two requests waiting for each other.
        time.sleep(pause)
        comparison = first_with_room(session, access, lock=True)
        if comparison is None:
            if first_with_room(session, access, lock=False) is None:
                due.stock_may_be_low(session, access.project)
                return None
        else:
            slipped = slips.draw(session, access) if may_slip else None
            leased = _lease(session, access, *(slipped or (comparison,)))
            if leased is not None:
                return leased
    return None


def one_at_a_time(session: Session, access: Access) -> None:
    """Let this person's requests in this project go one after the other until the transaction ends (two tabs)."""
    session.execute(_TURN, {"turn": f"labeling:{access.project.id}:{access.person.id}"})


def _held_and_last(session: Session, access: Access) -> tuple[Assignment | None, Assignment | None]:
    """The lease that this person holds, lapsed or not, and what they looked at last; often the same."""
    held = last = None
    for assignment, is_last in session.execute(_HELD_AND_LAST, asker(access)):
        held = assignment if assignment.status == "leased" else held
        last = assignment if is_last else last
    return held, last


def _held(session: Session, access: Access) -> Assignment | None:
    return session.scalar(
        select(Assignment).where(
            Assignment.project_id == access.project.id,
            Assignment.user_id == access.person.id,
            Assignment.status == "leased",
        )
    )


def has_room(session: Session, comparison: Comparison, access: Access) -> bool:
    """Whether one more answer of this person fits; certain only while the comparison's row is locked."""
    return bool(session.scalar(_HAS_PLACE, {**asker(access), "comparison": comparison.id}))


def lock(session: Session, comparison_id: int) -> Comparison:
    """The comparison as it is now, its row held until the transaction ends."""
    return session.scalars(
        select(Comparison)
        .where(Comparison.id == comparison_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()


def assign(
    session: Session, access: Access, comparison: Comparison, shown_left: str | None = None, **changed: Any
) -> Assignment:
    """This person's assignment of a comparison, with these values; made without a lease where there is none.

    The side is drawn by lot once: who let the comparison go and gets it again finds both responses where they were.
    """
    moment = now()
    new = {"status": "released", "leased_until": moment, "claimed_at": moment, **changed}
    return session.scalars(
        insert(Assignment)
        .values(
            project_id=access.project.id,
            comparison_id=comparison.id,
            user_id=access.person.id,
            shown_left=shown_left or secrets.choice("ab"),
            **new,
        )
        # Nothing changes unless it is said; a row that is left alone would not be returned.
        .on_conflict_do_update(
            index_elements=["comparison_id", "user_id"], set_=changed or {"user_id": Assignment.user_id}
        )
        .returning(Assignment)
        .execution_options(populate_existing=True)
    ).one()


def _lease(session: Session, access: Access, comparison: Comparison, left: str | None = None) -> Assignment | None:
    """Lease a comparison whose row is locked, or that is this person's alone; None where it has no room any more.

    The look that found it may be older than the lock; this one is not.
    """
    asked = asker(access)
    new = {"comparison": comparison.id, "left": left or secrets.choice("ab"), "until": asked["moment"] + LEASE}
    return session.scalars(_LEASE, {**asked, **new}).one_or_none()


def find(session: Session, person: User, assignment_id: int) -> tuple[Access, Assignment]:
    """A person's own assignment and what they may do in its project; anybody else's says NotFound."""
    found = session.execute(_FOUND, {"assignment": assignment_id, "person": person.id}).first()
    if found is None:
        raise NotFound(_("There is no such assignment, or it is not yours. Claim one first."))
    assignment, project, own = found
    return allow(person, project, own, "annotator"), assignment


def heartbeat(session: Session, access: Access, assignment: Assignment) -> Assignment:
    """Extend a lease, or take a lapsed one back where its place is still free, else Gone.

    Conflict where the person has answered it or holds another one, as with two tabs.
    """
    one_at_a_time(session, access)
    session.refresh(assignment)
    if assignment.status == "answered":
        raise Conflict(_("You have answered this comparison already. Take the next one."))
    held = _held(session, access)
    if held is not None and held.id != assignment.id and is_live(held):
        raise Conflict(_("You have moved on to another comparison, perhaps in another tab. Go on there."))
    lock(session, assignment.comparison_id)
    return reopen(session, access, assignment)


def reopen(session: Session, access: Access, assignment: Assignment) -> Assignment:
    """Make this the person's lease, instead of another one; both locks are held. Gone where no place is left."""
    if not is_live(assignment):
        comparison = assignment.comparison
        if comparison.status != "waiting" or not has_room(session, comparison, access):
            raise Gone
        other = _held(session, access)
        if other is not None and other.id != assignment.id:
            other.status = "released"
            # The index that allows one lease per person must see this before the new one.
            session.flush()
        assignment.status = "leased"
    assignment.leased_until = now() + LEASE
    return assignment


def is_live(assignment: Assignment) -> bool:
    """Whether the lease still holds its place."""
    return assignment.status == "leased" and assignment.leased_until > now()


def release(session: Session, access: Access, assignment: Assignment) -> None:
    """Give a comparison back unanswered; anything but a lease stays as it is."""
    one_at_a_time(session, access)
    session.refresh(assignment)
    if assignment.status == "leased":
        assignment.status = "released"


def pair_of(session: Session, comparison_id: int, shown_left: str) -> Pair:
    """What a comparison shows, in one query and without anything that tells who wrote it."""
    messages, *ids_and_texts = session.execute(_PAIR, {"comparison": comparison_id}).one()
    sides = [Shown(*ids_and_texts[:2]), Shown(*ids_and_texts[2:])]
    left, right = sides if shown_left == "a" else reversed(sides)
    return Pair(messages, left, right)
