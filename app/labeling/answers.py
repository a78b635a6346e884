"""What a person said about a pair: recorded exactly once, undone while nothing holds it, corrected at any time."""

import math

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from app.accounts.access import Access
from app.errors import Conflict, Gone, NotFound
from app.labeling import leases, rounds
from app.labeling.meaning import Spoken, columns_of
from app.labeling.room import PERSON, PROJECT, asker
from app.languages import _
from app.live_head import heads
from app.models import DECISIVE, Answer, Assignment, Base, Comparison, GuidelineVersion, Snapshot, now
from app.models import SnapshotAnswer as Held
from app.runs import due

__all__ = ["Spoken", "correct", "held_by", "own", "record", "undo"]

LONGEST_SECONDS = 86_400.0

# The statements of every answer, built once. They change tables and not classes, because SQLAlchemy makes an INSERT or
# UPDATE of a class anew each time.
_ANSWERS, _ASSIGNMENTS, _COMPARISONS = (
    Base.metadata.tables[name] for name in ("answers", "assignments", "comparisons")
)
_ASSIGNMENT, _COMPARISON = bindparam("assignment", type_=BigInteger), bindparam("comparison", type_=BigInteger)
_OWN = (Assignment.id == _ASSIGNMENT, Assignment.user_id == PERSON)
_HELD = (
    select(Assignment, Comparison, Answer)
    .join(Comparison, Comparison.id == Assignment.comparison_id)
    .outerjoin(Answer, and_(Answer.comparison_id == Comparison.id, Answer.user_id == PERSON))
    .where(*_OWN, Assignment.project_id == PROJECT)
    .with_for_update(key_share=True, of=Comparison)
    .execution_options(populate_existing=True)
)
_SAID = (
    *("project_id", "comparison_id", "assignment_id", "user_id", "verdict", "preferred", "strength", "skip_reason"),
    *("flags", "criteria", "rationale", "seconds_client", "seconds_server", "source", "simulated", "adjudicates"),
    "measures",
)
_VERSION = select(func.max(GuidelineVersion.version)).where(GuidelineVersion.project_id == PROJECT).scalar_subquery()
_ANSWERED = (
    update(_ASSIGNMENTS)
    .where(_ASSIGNMENTS.c.id == _ASSIGNMENT, _ASSIGNMENTS.c.user_id == PERSON)
    .values(status="answered")
)
_SAY = select(Answer).from_statement(
    insert(_ANSWERS)
    .values({name: bindparam(f"said_{name}") for name in _SAID} | {"guideline_version": _VERSION, "revision": 1})
    .add_cte(_ANSWERED.cte("answered"))
    .returning(_ANSWERS)
)
_COUNTED = (
    select(
        _COMPARISON.label("comparison"),
        func.count().filter(Answer.verdict.in_(DECISIVE)).label("decisive"),
        func.count().label("all"),
    )
    .where(Answer.comparison_id == _COMPARISON)
    .subquery("said")
)
_ENOUGH = case(
    (Comparison.asks_id.is_not(None), _COUNTED.c.all > 0),
    else_=or_(
        _COUNTED.c.decisive >= bindparam("overlap", type_=Integer),
        and_(Comparison.status == "complete", _COUNTED.c.decisive >= Comparison.counted),
    ),
)
_STAYS = or_(
    Comparison.status == "withdrawn", Comparison.purpose == "gold", Comparison.source.in_(("chat", "feedback"))
)
_SETTLE = (
    update(_COMPARISONS)
    .where(_COMPARISONS.c.id == _COUNTED.c.comparison)
    .values(
        counted=_COUNTED.c.decisive,
        status=case((_STAYS, Comparison.status), (_ENOUGH, "complete"), else_="waiting"),
    )
    .returning(_COMPARISONS.c.counted, _COMPARISONS.c.status)
)


def record(
    session: Session, access: Access, assignment_id: int, spoken: Spoken, *, adjudicates: bool = False
) -> Answer:
    """Keep an answer, complete its comparison when it has enough, and start what is due, in one transaction.

    The same again gives the stored answer; another one is a Conflict. A lapsed lease is accepted while its place is
    free, else Gone. One that `adjudicates` among the answers of others needs no place.
    """
    leases.one_at_a_time(session, access)
    # One's own assignment and answer change in one's own turn alone, so waiting for the row makes them no older.
    held = session.execute(_HELD, {**asker(access), "assignment": assignment_id}).first()
    if held is None:
        raise _not_theirs()
    assignment, comparison, known = held
    meant = columns_of(access, assignment, spoken)
    if known is not None:
        if any(getattr(known, name) != value for name, value in meant.items()):
            raise Conflict(
                _("You answered this comparison already, and differently. Undo or edit that answer instead.")
            )
        set_committed_value(known, "assignment", assignment)
        return known
    if comparison.status == "withdrawn":
        raise Gone(_("This comparison was withdrawn, because a newer model writes the pairs now. Take the next one."))
    if not (adjudicates or leases.is_live(assignment) or leases.has_room(session, comparison, access)):
        raise Gone
    said = {
        "project_id": access.project.id,
        "comparison_id": comparison.id,
        "assignment_id": assignment.id,
        "user_id": access.person.id,
        "seconds_client": _plausible(spoken.seconds),
        "seconds_server": (now() - assignment.claimed_at).total_seconds(),
        "source": spoken.source,
        "simulated": access.person.kind == "simulated",
        "adjudicates": adjudicates,
        "measures": comparison.measures,
        **meant,
    }
    new = {f"said_{name}": value for name, value in said.items()}
    answer = session.scalars(_SAY, {**asker(access), "assignment": assignment.id, **new}).one()
    set_committed_value(assignment, "status", "answered")
    set_committed_value(answer, "assignment", assignment)
    _settle(session, access, comparison)
    if comparison.purpose == "gold":
        rounds.count(session, access)
    due.after_answer(session, access.project)
    return answer


def undo(session: Session, access: Access, assignment_id: int) -> Answer:
    """Take an answer back and give its comparison to the same person again; returns what was said.

    Who gets no pairs now, because they are paused, lets it go instead. Conflict where a snapshot holds the answer
    (correct it instead), or where others have filled its place.
    """
    leases.one_at_a_time(session, access)
    assignment = _own(session, access, assignment_id)
    comparison = leases.lock(session, assignment.comparison_id)
    # A snapshot that is being written holds the answer's row; this waits for it, and then sees what it wrote.
    answer = session.scalar(select(Answer).where(Answer.assignment_id == assignment.id).with_for_update())
    if answer is None:
        raise NotFound(_("There is no answer here that could be undone."))
    holder = _holder(session, answer)
    if holder is not None:
        raise Conflict(
            _("Snapshot {id} ({sha}) holds this answer, so it cannot be undone. Edit it instead.").format(
                id=holder.id, sha=holder.sha256[:12]
            ),
            snapshot=str(holder.id),
        )
    session.delete(answer)
    session.flush()
    _settle(session, access, comparison)
    heads.fit_soon(session, access.project.id)
    assignment.claimed_at = now()
    assignment.undone += 1
    if leases.is_stopped(session, access):
        assignment.status = "released"
        session.flush()
        return answer
    try:
        leases.reopen(session, access, assignment)
    except Gone:
        raise Conflict(
            _("Others have answered this comparison meanwhile, so it cannot be opened again. Edit your answer instead.")
        ) from None
    session.flush()
    return answer


def correct(session: Session, access: Access, answer_id: int, spoken: Spoken) -> Answer:
    """Change one's own answer, whatever holds it: snapshots keep the revision they hashed."""
    leases.one_at_a_time(session, access)
    answer = own(session, access, answer_id)
    leases.lock(session, answer.comparison_id)
    session.refresh(answer, with_for_update=True)
    meant = columns_of(access, answer.assignment, spoken)
    counts_now = answer.verdict not in DECISIVE and meant["verdict"] in DECISIVE
    if counts_now and not leases.has_room(session, answer.comparison, access):
        raise Conflict(_("Others have answered this comparison often enough. Your answer stays as it was."))
    if any(getattr(answer, name) != value for name, value in meant.items()):
        for name, value in meant.items():
            setattr(answer, name, value)
        answer.revision += 1
        answer.updated_at = now()
        session.flush()
        _settle(session, access, answer.comparison)
        heads.fit_soon(session, access.project.id)
    return answer


def own(session: Session, access: Access, answer_id: int) -> Answer:
    """A person's own answer in this project; raises NotFound."""
    answer = session.get(Answer, answer_id)
    if answer is None or answer.user_id != access.person.id or answer.project_id != access.project.id:
        raise NotFound(_("There is no such answer, or it is not yours."))
    return answer


def _own(session: Session, access: Access, assignment_id: int) -> Assignment:
    """The person's own assignment in this project, as it is now."""
    assignment = session.get(Assignment, assignment_id, populate_existing=True)
    mine = assignment is not None and assignment.user_id == access.person.id
    if assignment is None or not mine or assignment.project_id != access.project.id:
        raise _not_theirs()
    return assignment


def _not_theirs() -> NotFound:
    return NotFound(_("There is no such assignment in this project, or it is not yours. Claim one first."))


def held_by() -> ColumnElement[bool]:
    """Whether a snapshot holds an answer of its project.

    Snapshots leave out what only measures people, and yet an earlier answer of that kind counts as held: that it can
    be undone when all around it cannot would tell what it is.
    """
    holds = exists().where(Held.snapshot_id == Snapshot.id, Held.answer_id == Answer.id)
    return and_(
        Snapshot.project_id == Answer.project_id,
        or_(holds, Answer.measures & (Snapshot.created_at > Answer.created_at)),
    )


def _holder(session: Session, answer: Answer) -> Snapshot | None:
    return session.scalar(
        select(Snapshot).join(Answer, held_by()).where(Answer.id == answer.id).order_by(Snapshot.id.desc()).limit(1)
    )


def _settle(session: Session, access: Access, comparison: Comparison) -> None:
    """Count a comparison's answers; complete it where they are enough, or let it wait again. Its row is locked.

    A choice from a chat or a product was that person's alone: nobody else is asked, however it is corrected. A gold
    comparison waits for everybody, and one's own pair asked again is done with one answer, whatever it says. What was
    complete when fewer answers were asked stays so until one of them is gone.
    """
    session.flush()
    asked = {"comparison": comparison.id, "overlap": access.project.labels_per_comparison}
    counted, status = session.connection().execute(_SETTLE, asked).one()
    set_committed_value(comparison, "counted", counted)
    set_committed_value(comparison, "status", status)


def _plausible(seconds: float | None) -> float | None:
    """What a browser measured, unless it is no time at all: clocks jump, and a day is no reading time."""
    usable = seconds is not None and math.isfinite(seconds) and 0 <= seconds <= LONGEST_SECONDS
    return seconds if usable else None
