"""Blind evaluation by people: a candidate's answers against those of what is in use, on the label page like any pair.

A trial's pairs have the purpose `evaluation` and its run's id. Nobody who answers sees who wrote what; the answers
count like others when the next models are trained.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, case, exists, select, update
from sqlalchemy.orm import Session, aliased

from app.accounts.access import Access
from app.checkpoints import checkpoints, gates, intervals
from app.errors import BadInput, Conflict
from app.languages import _
from app.models import (
    DECISIVE,
    Answer,
    Checkpoint,
    Comparison,
    Project,
    Prompt,
    Response,
    Run,
    Standing,
    Trial,
    now,
)
from app.models.policies import Gates
from app.queue import enqueue

USUAL = 40
"""Pairs of a trial where neither the person nor the project says how many."""
MOST = 1000
PRIORITY = 1
"""A trial's pairs come before the stock, because a promotion waits for them."""


@dataclass(frozen=True)
class Tally:
    """How a trial stands: pairs written and answered, the candidate's share of wins (a tie is half), its interval."""

    trial: Trial
    written: int
    answered: int
    share: float | None
    low: float | None
    high: float | None

    @property
    def left(self) -> int:
        """How many pairs still wait for an answer or to be written."""
        return max(0, self.trial.wanted - self.answered)


def begin(
    session: Session, candidate: Checkpoint, wanted: int, *, access: Access | None = None, promotes: bool = False
) -> Trial:
    """Have the pairs written and put before people; or go on with the candidate's trial against what is in use.

    One that is open stays as it is. One that is decided is taken up where more pairs are asked for than it had: a
    second one beside it would give the candidate a second chance to win by luck.

    Raises BadInput for a number out of range, Conflict for what cannot be compared.
    """
    if not 1 <= wanted <= MOST:
        raise BadInput(_("Ask for 1 to {most} pairs.").format(most=MOST))
    if candidate.kind != "policy" or candidate.status != "candidate" or candidate.removed_at is not None:
        raise Conflict(_("Only a candidate policy whose files are there can be put before people."))
    opponent = _in_use(session, candidate)
    known = _newest(session, candidate, opponent, "open", "won", "lost")
    if known is not None and (known.status == "open" or wanted <= known.wanted):
        return known
    run = Run(
        project_id=candidate.project_id,
        kind="sample",
        trigger="person" if access else "chain",
        params={"candidate": str(candidate.id), "comparisons": wanted},
        requested_by_id=access.person.id if access else None,
        message="Waits for a worker.",
    )
    session.add(run)
    session.flush()
    if known is not None:
        known.wanted, known.promotes = wanted, promotes
        _hand_over(session, known, run)
    else:
        # What is in use has changed since a trial that is open still.
        if (stale := open_one(session, candidate)) is not None:
            end(session, stale)
        known = Trial(
            project_id=candidate.project_id,
            candidate_id=candidate.id,
            opponent_id=opponent,
            run_id=run.id,
            wanted=wanted,
            promotes=promotes,
        )
        session.add(known)
    session.flush()
    enqueue(session, "sample", run_id=run.id)
    return known


def go_on(session: Session, run: Run, again: Run) -> Trial:
    """Let another run write what a trial's run did not; raises Conflict where that trial can say nothing any more."""
    trial = session.scalar(select(Trial).where(Trial.run_id == run.id))
    if trial is None:
        raise Conflict(_("Another run goes on with this trial already."))
    candidate = session.get_one(Checkpoint, trial.candidate_id)
    open_now = open_one(session, candidate)
    if (
        candidate.status != "candidate"
        or candidate.removed_at is not None
        or _in_use(session, candidate) != trial.opponent_id
        or (open_now is not None and open_now is not trial)
    ):
        raise Conflict(_("What this trial compared has changed since. Put the candidate before people again."))
    _hand_over(session, trial, again)
    return trial


def recall(session: Session, candidate: Checkpoint) -> None:
    """After a new evaluation: what people decided against what is in use still counts, and nothing else they said."""
    decided = _newest(session, candidate, _in_use(session, candidate), "won", "lost")
    if decided is not None:
        _judge(session, candidate, tally(session, decided))


def _in_use(session: Session, candidate: Checkpoint) -> int | None:
    """The policy that a trial would be against; None is the base model."""
    found = checkpoints.promoted(session, candidate.project_id, "policy")
    return found.id if found else None


def _newest(session: Session, candidate: Checkpoint, opponent: int | None, *statuses: str) -> Trial | None:
    against = (Trial.candidate_id == candidate.id) & Trial.opponent_id.is_not_distinct_from(opponent)
    found = select(Trial).where(against, Trial.status.in_(statuses)).order_by(Trial.id.desc()).limit(1)
    return session.scalar(found)


def _hand_over(session: Session, trial: Trial, run: Run) -> None:
    """Open the trial for this run: the pairs that are written become its own, those taken back wait again."""
    mine = Comparison.run_id == trial.run_id
    there = select(Prompt.id).where(Prompt.id == Comparison.prompt_id, Prompt.withdrawn_at.is_(None)).exists()
    back = case((and_(Comparison.status == "withdrawn", there), "waiting"), else_=Comparison.status)
    moved = update(Comparison).where(mine).values(run_id=run.id, status=back).returning(Comparison.status)
    now_are = session.scalars(moved.execution_options(synchronize_session=False)).all()
    run.done = sum(status != "withdrawn" for status in now_are)
    trial.run_id, trial.status, trial.ended_at = run.id, "open", None
    session.flush()


def open_one(session: Session, candidate: Checkpoint) -> Trial | None:
    """The trial of a candidate that people are at."""
    return session.scalar(select(Trial).where(Trial.candidate_id == candidate.id, Trial.status == "open"))


def of(session: Session, candidate: Checkpoint) -> list[Tally]:
    """Every trial of a candidate, newest first, as it stands."""
    found = session.scalars(select(Trial).where(Trial.candidate_id == candidate.id).order_by(Trial.id.desc()))
    return [tally(session, trial) for trial in found.all()]


def tally(session: Session, trial: Trial) -> Tally:
    """Count what people said so far; answers of excluded people and skipped pairs do not count."""
    rates: dict[int, list[float]] = {}
    for comparison, verdict, preferred, by_a in session.execute(_answers_to(trial)):
        lead = 0.5 if verdict != "preferred" else float((preferred == "a") == (by_a == trial.candidate_id))
        rates.setdefault(comparison, []).append(lead)
    written = len(session.scalars(select(Comparison.id).where(Comparison.run_id == trial.run_id)).all())
    found = intervals.of_rates([sum(several) / len(several) for several in rates.values()])
    share, low, high = found or (None, None, None)
    return Tally(trial, written, len(rates), share, low, high)


def _answers_to(trial: Trial) -> Any:
    a = aliased(Response)
    excluded = exists().where(
        Standing.project_id == Answer.project_id,
        Standing.user_id == Answer.user_id,
        Standing.excluded_at.is_not(None),
    )
    return (
        select(Answer.comparison_id, Answer.verdict, Answer.preferred, a.checkpoint_id)
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .join(a, a.id == Comparison.response_a_id)
        .where(Comparison.run_id == trial.run_id, Answer.verdict.in_(DECISIVE), ~excluded)
    )


def end(session: Session, trial: Trial, status: str = "ended") -> None:
    """End a trial and take back its pairs that nobody answered; one that has ended stays as it is."""
    if trial.status != "open":
        return
    trial.status, trial.ended_at = status, now()
    run = session.get_one(Run, trial.run_id)
    if run.status in ("queued", "running"):
        run.cancel_requested_at = run.cancel_requested_at or now()
    session.execute(
        update(Comparison)
        .where(Comparison.run_id == trial.run_id, Comparison.status == "waiting", Comparison.counted == 0)
        .values(status="withdrawn")
        .execution_options(synchronize_session=False)
    )


def conclude(session: Session) -> list[Trial]:
    """End the trials that are answered, write the verdict on their candidates, and promote where that was the wish.

    A trial whose candidate or opponent is not what it was any more says nothing and is ended without a verdict.
    """
    ended = []
    open_ones = select(Trial).where(Trial.status == "open").order_by(Trial.id).with_for_update(skip_locked=True)
    for trial in session.scalars(open_ones).all():
        candidate = session.get_one(Checkpoint, trial.candidate_id)
        stands = tally(session, trial)
        # A run that failed has left pairs to write: the trial waits until somebody starts it again, or ends the trial.
        all_written = session.get_one(Run, trial.run_id).status in ("succeeded", "cancelled")
        wanted = min(trial.wanted, stands.written) if all_written else trial.wanted
        if candidate.status != "candidate" or _in_use(session, candidate) != trial.opponent_id or wanted == 0:
            end(session, trial)
        elif stands.answered >= wanted:
            _decide(session, trial, candidate, stands)
        if trial.status != "open":
            ended.append(trial)
    return ended


def _decide(session: Session, trial: Trial, candidate: Checkpoint, stands: Tally) -> None:
    won = _judge(session, candidate, stands)
    end(session, trial, "won" if won else "lost")
    candidate.metrics = {
        **candidate.metrics,
        "people_rate": stands.share,
        "people_low": stands.low,
        "people_high": stands.high,
        "people_pairs": float(stands.answered),
    }
    session.flush()
    if won and trial.promotes and gates.is_open(candidate.gate):
        checkpoints.promote(session, None, candidate, session.get_one(Run, trial.run_id))


def _judge(session: Session, candidate: Checkpoint, stands: Tally) -> bool:
    """Add what people said to the candidate's gate, and say whether they preferred it."""
    policy = Gates.from_json(session.get_one(Project, candidate.project_id).gates)
    gate = gates.with_people(candidate.gate, stands.low, policy)
    won = stands.low is not None and stands.low > policy.people_rate
    lost_by_people = gate["before"]["passed"] and not won
    candidate.gate = gate | ({"why": _says_lost(stands)} if lost_by_people else {})
    return won


def _says_lost(stands: Tally) -> str:
    figures = {"share": _hundredths(stands.share), "low": _hundredths(stands.low), "high": _hundredths(stands.high)}
    return _("People did not clearly prefer it: {share} % [{low}, {high}] of {n} pairs.").format(
        n=stands.answered, **figures
    )


def _hundredths(share: float | None) -> int:
    return round(100 * (share or 0.0))


def as_json(stands: Tally) -> dict[str, Any]:
    """A trial as programs read it."""
    trial = stands.trial
    return {
        "id": str(trial.id),
        "status": trial.status,
        "candidate": str(trial.candidate_id),
        "opponent": str(trial.opponent_id) if trial.opponent_id else "base",
        "run": str(trial.run_id),
        "wanted": trial.wanted,
        "written": stands.written,
        "answered": stands.answered,
        "share": stands.share,
        "low": stands.low,
        "high": stands.high,
        "promotes": trial.promotes,
        "created": trial.created_at.isoformat(),
        "ended": trial.ended_at.isoformat() if trial.ended_at else None,
    }
