"""What a person said about a pair: recorded exactly once, undone while nothing holds it, corrected at any time."""

import math

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.errors import Conflict, Gone, NotFound
from app.labeling import leases, rounds
from app.labeling.meaning import Spoken, columns_of
from app.languages import _
from app.live_head import heads
from app.models import DECISIVE, Answer, Assignment, Comparison, GuidelineVersion, Snapshot, now
from app.models import SnapshotAnswer as Held
from app.runs import due

__all__ = ["Spoken", "correct", "held_by", "own", "record", "undo"]

LONGEST_SECONDS = 86_400.0


def record(
    session: Session, access: Access, assignment_id: int, spoken: Spoken, *, adjudicates: bool = False
) -> Answer:
    """Keep an answer, complete its comparison when it has enough, and start what is due, in one transaction.

    The same again gives the stored answer; another one is a Conflict. A lapsed lease is accepted while its place is
    free, else Gone. One that `adjudicates` among the answers of others needs no place.
    """
    leases.one_at_a_time(session, access)
    assignment = _own(session, access, assignment_id)
    comparison = leases.lock(session, assignment.comparison_id)
    meant = columns_of(access, assignment, spoken)
    known = session.scalar(
        select(Answer).where(Answer.comparison_id == comparison.id, Answer.user_id == access.person.id)
    )
    if known is not None:
        if any(getattr(known, name) != value for name, value in meant.items()):
            raise Conflict(
                _("You answered this comparison already, and differently. Undo or edit that answer instead.")
            )
        return known
    if comparison.status == "withdrawn":
        raise Gone(_("This comparison was withdrawn, because a newer model writes the pairs now. Take the next one."))
    if not (adjudicates or leases.is_live(assignment) or leases.has_room(session, comparison, access)):
        raise Gone
    answer = Answer(
        project_id=access.project.id,
        comparison_id=comparison.id,
        assignment_id=assignment.id,
        user_id=access.person.id,
        seconds_client=_plausible(spoken.seconds),
        seconds_server=(now() - assignment.claimed_at).total_seconds(),
        guideline_version=session.scalar(
            select(func.max(GuidelineVersion.version)).where(GuidelineVersion.project_id == access.project.id)
        ),
        source=spoken.source,
        simulated=access.person.kind == "simulated",
        adjudicates=adjudicates,
        measures=comparison.measures,
        **meant,
    )
    session.add(answer)
    assignment.status = "answered"
    session.flush()
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
        raise NotFound(_("There is no such assignment in this project, or it is not yours. Claim one first."))
    return assignment


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
    before = comparison.counted
    answered = Answer.comparison_id == comparison.id
    comparison.counted = session.scalar(select(func.count()).where(answered, Answer.verdict.in_(DECISIVE))) or 0
    if comparison.asks_id is not None:
        enough = bool(session.scalar(select(exists().where(answered))))
    else:
        enough = comparison.counted >= access.project.labels_per_comparison
        enough = enough or (comparison.status == "complete" and comparison.counted >= before)
    settled = comparison.status == "withdrawn" or comparison.purpose == "gold"
    if not settled and comparison.source not in ("chat", "feedback"):
        comparison.status = "complete" if enough else "waiting"
    session.flush()


def _plausible(seconds: float | None) -> float | None:
    """What a browser measured, unless it is no time at all: clocks jump, and a day is no reading time."""
    usable = seconds is not None and math.isfinite(seconds) and 0 <= seconds <= LONGEST_SECONDS
    return seconds if usable else None
