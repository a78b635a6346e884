"""What a person said about a pair: recorded exactly once, undone while nothing holds it, corrected at any time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.errors import BadInput, Conflict, Gone, NotFound
from app.labeling import leases
from app.languages import _
from app.live_head import heads
from app.messages import check_storable
from app.models import DECISIVE, FLAGS, VERDICTS, Answer, Assignment, Comparison, GuidelineVersion, Snapshot, now
from app.models import SnapshotAnswer as Held
from app.models.policies import Labeling
from app.runs import due

LONGEST_RATIONALE = 10_000
LONGEST_SKIP_REASON = 500
LONGEST_SECONDS = 86_400.0


@dataclass(frozen=True)
class Spoken:
    """An answer in the words of the page or the API.

    `preferred` and each of `criteria`: `left`, `right` or the id of a response; a criterion may also be a `tie`.
    `seconds`: what the browser measured.
    """

    verdict: str
    preferred: str | None = None
    strength: int | None = None
    rationale: str = ""
    flags: Sequence[str] = ()
    criteria: dict[str, str] = field(default_factory=dict)
    skip_reason: str | None = None
    seconds: float | None = None
    source: str = "api"


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
    meant = _meant(access, comparison, assignment.shown_left, spoken)
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
        **meant,
    )
    session.add(answer)
    assignment.status = "answered"
    session.flush()
    _settle(session, access, comparison)
    due.after_answer(session, access.project)
    return answer


def undo(session: Session, access: Access, assignment_id: int) -> Answer:
    """Take an answer back and give its comparison to the same person again; returns what was said.

    Conflict where a snapshot holds the answer (correct it instead), or where others have filled its place.
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
    shown_left = answer.assignment.shown_left if answer.assignment else "a"
    meant = _meant(access, answer.comparison, shown_left, spoken)
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


def _holder(session: Session, answer: Answer) -> Snapshot | None:
    return session.scalar(
        select(Snapshot)
        .join(Held, Held.snapshot_id == Snapshot.id)
        .where(Held.answer_id == answer.id)
        .order_by(Snapshot.id.desc())
        .limit(1)
    )


def _settle(session: Session, access: Access, comparison: Comparison) -> None:
    """Count a comparison's answers; complete it where they are enough, or let it wait again. Its row is locked.

    A choice from a chat or a product was that person's alone: nobody else is asked, however it is corrected.
    """
    counting = (Answer.comparison_id == comparison.id, Answer.verdict.in_(DECISIVE))
    comparison.counted = session.scalar(select(func.count()).where(*counting)) or 0
    if comparison.status != "withdrawn" and comparison.source not in ("chat", "feedback"):
        enough = comparison.counted >= access.project.labels_per_comparison
        comparison.status = "complete" if enough else "waiting"
    session.flush()


def _meant(access: Access, comparison: Comparison, shown_left: str, spoken: Spoken) -> dict[str, Any]:
    """What was said as columns of an answer, checked against the project's policy; BadInput with a sentence."""
    policy = Labeling.from_json(access.project.labeling)
    if spoken.verdict not in VERDICTS:
        raise BadInput(f"verdict must be one of {', '.join(VERDICTS)}, not {spoken.verdict!r}.")
    names = _names(comparison, shown_left)
    return {
        "verdict": spoken.verdict,
        "preferred": _preferred(spoken, names),
        "strength": _strength(spoken, policy),
        "skip_reason": _skip_reason(spoken),
        "flags": _flags(spoken),
        "criteria": _criteria(spoken, policy, names),
        "rationale": _rationale(spoken, policy),
    }


def _names(comparison: Comparison, shown_left: str) -> dict[str, str]:
    """What either response may be called -> a or b."""
    return {
        "left": shown_left,
        "right": "b" if shown_left == "a" else "a",
        str(comparison.response_a_id): "a",
        str(comparison.response_b_id): "b",
    }


def _preferred(spoken: Spoken, names: dict[str, str]) -> str | None:
    if spoken.verdict != "preferred":
        if spoken.preferred is not None:
            raise BadInput(f"preferred belongs to the verdict preferred, not to {spoken.verdict}. Leave it out.")
        return None
    if spoken.preferred not in names:
        _left, _right, a, b = names
        raise BadInput(f"preferred must be the id of the better response, {a} or {b}, not {spoken.preferred!r}.")
    return names[spoken.preferred]


def _strength(spoken: Spoken, policy: Labeling) -> int | None:
    if spoken.verdict != "preferred":
        if spoken.strength is not None:
            raise BadInput(f"strength belongs to the verdict preferred, not to {spoken.verdict}. Leave it out.")
        return None
    if spoken.strength is None and policy.strengths == 1:
        return 1
    if spoken.strength is None or not 1 <= spoken.strength <= policy.strengths:
        steps = "1" if policy.strengths == 1 else f"from 1 (slightly) to {policy.strengths}"
        raise BadInput(f"strength must be {steps} in this project, not {spoken.strength!r}.")
    return spoken.strength


def _skip_reason(spoken: Spoken) -> str | None:
    reason = (spoken.skip_reason or "").strip()
    if reason and spoken.verdict != "skipped":
        raise BadInput(f"skip_reason belongs to the verdict skipped, not to {spoken.verdict}. Leave it out.")
    return _storable(reason, "skip_reason", LONGEST_SKIP_REASON) or None


def _flags(spoken: Spoken) -> list[str]:
    unknown = sorted(set(spoken.flags) - set(FLAGS))
    if unknown:
        raise BadInput(f"{unknown[0]!r} is not a flag. Known are {', '.join(FLAGS)}.")
    return [flag for flag in FLAGS if flag in spoken.flags]


def _criteria(spoken: Spoken, policy: Labeling, names: dict[str, str]) -> dict[str, str]:
    unknown = sorted(set(spoken.criteria) - set(policy.criteria))
    if unknown:
        known = ", ".join(policy.criteria) or "none"
        raise BadInput(f"{unknown[0]!r} is not a criterion of this project. Known are: {known}.")
    values = {**names, "tie": "tie"}
    for name, said in spoken.criteria.items():
        if said not in values:
            raise BadInput(f"The criterion {name!r} must be the id of a response or tie, not {said!r}.")
    return {name: values[said] for name, said in spoken.criteria.items()}


def _rationale(spoken: Spoken, policy: Labeling) -> str:
    rationale = spoken.rationale.replace("\r\n", "\n").strip()
    if rationale and policy.rationale == "off":
        raise BadInput(_("This project asks for no reason. Leave rationale empty."))
    if not rationale and policy.rationale == "required" and spoken.verdict in DECISIVE:
        raise BadInput(_("This project asks for a reason. Say in a few words why, then send again."))
    return _storable(rationale, "rationale", LONGEST_RATIONALE)


def _storable(text: str, name: str, longest: int) -> str:
    if len(text) > longest:
        raise BadInput(
            _("{name} has {n:,} characters; at most {longest:,} are kept. Shorten it.").format(
                name=name, n=len(text), longest=longest
            )
        )
    return check_storable(text, name)


def _plausible(seconds: float | None) -> float | None:
    """What a browser measured, unless it is no time at all: clocks jump, and a day is no reading time."""
    usable = seconds is not None and math.isfinite(seconds) and 0 <= seconds <= LONGEST_SECONDS
    return seconds if usable else None
