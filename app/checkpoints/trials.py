"""Blind evaluation by people: a candidate's answers against those of what is in use, on the label page like any pair.

A trial's pairs have the purpose `evaluation` and its run's id. Nobody who answers sees who wrote what; the answers
count like others when the next models are trained.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session, aliased

from app.accounts.access import Access
from app.checkpoints import checkpoints, gates, intervals
from app.errors import BadInput, Conflict
from app.languages import _
from app.models import (
    DECISIVE,
    FINISHED,
    Answer,
    Checkpoint,
    Comparison,
    Project,
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
    """Have the pairs written and put before people; the one that is open already where there is one.

    Raises BadInput for a number out of range, Conflict for what cannot be compared.
    """
    if not 1 <= wanted <= MOST:
        raise BadInput(_("Ask for 1 to {most} pairs.").format(most=MOST))
    if candidate.kind != "policy" or candidate.status != "candidate" or candidate.removed_at is not None:
        raise Conflict(_("Only a candidate policy whose files are there can be put before people."))
    known = open_one(session, candidate)
    if known is not None:
        return known
    opponent = checkpoints.promoted(session, candidate.project_id, "policy")
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
    trial = Trial(
        project_id=candidate.project_id,
        candidate_id=candidate.id,
        opponent_id=opponent.id if opponent else None,
        run_id=run.id,
        wanted=wanted,
        promotes=promotes,
    )
    session.add(trial)
    session.flush()
    enqueue(session, "sample", run_id=run.id)
    return trial


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
        in_use = checkpoints.promoted(session, trial.project_id, "policy")
        now_opposed = in_use.id if in_use else None
        stands = tally(session, trial)
        all_written = session.get_one(Run, trial.run_id).status in FINISHED
        wanted = min(trial.wanted, stands.written) if all_written else trial.wanted
        if candidate.status != "candidate" or now_opposed != trial.opponent_id or wanted == 0:
            end(session, trial)
        elif stands.answered >= wanted:
            _decide(session, trial, candidate, stands)
        if trial.status != "open":
            ended.append(trial)
    return ended


def _decide(session: Session, trial: Trial, candidate: Checkpoint, stands: Tally) -> None:
    policy = Gates.from_json(session.get_one(Project, trial.project_id).gates)
    before = candidate.gate
    candidate.gate = gates.with_people(before, stands.low, policy)
    won = stands.low is not None and stands.low > policy.people_rate
    end(session, trial, "won" if won else "lost")
    candidate.metrics = {
        **candidate.metrics,
        "people_rate": stands.share,
        "people_low": stands.low,
        "people_high": stands.high,
        "people_pairs": float(stands.answered),
    }
    if not won and before.get("passed"):
        candidate.gate["why"] = _says_lost(stands)
    session.flush()
    if won and trial.promotes and gates.is_open(candidate.gate):
        checkpoints.promote(session, None, candidate, session.get_one(Run, trial.run_id))


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
