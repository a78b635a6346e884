"""What lies on an annotator's desk: the pair to judge or why there is none, and how the day goes."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.labeling import agreement, first, leases, pauses, room, rounds
from app.labeling.agreement import Agreement
from app.labeling.first import First
from app.labeling.leases import Pair
from app.languages import _
from app.models import FINISHED, ORDINARY, Answer, Assignment, Comparison, Prompt, Run
from app.models.policies import Labeling, Sampling

RECENT = 20
"""How many of the last answers the pace is taken from."""
LONGEST_PAUSE = 600.0
"""Seconds that one answer counts at most: who went for a walk did not work slowly."""


@dataclass(frozen=True)
class Day:
    """One's own day: answers since midnight, pace an hour (None before five), the last answer's assignment.

    `agreement` with the others, where the project shows it.
    """

    done: int
    pace: int | None
    last: int | None
    agreement: Agreement | None = None


@dataclass(frozen=True)
class Nothing:
    """Why there is no pair: `state` for programs, a title and a sentence for people."""

    state: str
    title: str
    sentence: str


@dataclass(frozen=True)
class Desk:
    """Either `assignment` and `pair`, or what comes `first`, or `nothing`."""

    day: Day
    assignment: Assignment | None = None
    pair: Pair | None = None
    first: First | None = None
    nothing: Nothing | None = None
    practice: tuple[int, int] | None = None
    """Which practice pair of how many this is, in a qualification round."""


def lay(session: Session, access: Access, zone: tzinfo = UTC) -> Desk:
    """Claim the next comparison, unless something else comes first, and gather what the page shows."""
    day = day_of(session, access, zone)
    if (before := first.of(session, access)) is not None:
        return Desk(day, first=before)
    assignment = leases.claim(session, access)
    if assignment is None:
        return Desk(day, nothing=why_nothing(session, access))
    pair = leases.pair_of(session, assignment.comparison_id, assignment.shown_left)
    return Desk(day, assignment, pair, practice=rounds.place(session, access))


def day_of(session: Session, access: Access, zone: tzinfo) -> Day:
    """How this person's day in this project goes; midnight is that of their own clock."""
    mine = (Answer.user_id == access.person.id, Answer.project_id == access.project.id)
    midnight = datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    done = session.scalar(select(func.count()).where(*mine, Answer.created_at >= midnight)) or 0
    recent = session.execute(
        select(Answer.assignment_id, Answer.created_at, func.coalesce(Answer.seconds_client, Answer.seconds_server))
        .where(*mine)
        .order_by(Answer.created_at.desc(), Answer.id.desc())
        .limit(RECENT)
    ).all()
    spent = [min(seconds, LONGEST_PAUSE) for _id, at, seconds in recent if at >= midnight and seconds]
    pace = round(3600 * len(spent) / sum(spent)) if len(spent) >= 5 else None
    shown = Labeling.from_json(access.project.labeling).show_agreement
    agreed = agreement.of_oneself(session, access) if shown else None
    return Day(done, pace, recent[0][0] if recent else None, agreed)


def why_nothing(session: Session, access: Access) -> Nothing:
    """Why this person gets no pair now, and what happens next."""
    project = access.project
    if project.archived_at is not None:
        return Nothing("paused", _("This project is paused"), _("It is archived. An admin can bring it back."))
    if (because := pauses.reason(session, access)) is not None:
        sentence = _("An admin paused your labelling in this project: {reason}").format(reason=because)
        return Nothing("stopped", _("Your labelling is paused"), sentence)
    if rounds.stage(session, access) == "short":
        return _fell_short(session, access)
    return _others_have_it(session, access) or _the_model_writes(session, access) or _out_of_prompts(session, access)


def _fell_short(session: Session, access: Access) -> Nothing:
    round = rounds.of(session, access.project, access.person)
    right, asked, needed = (round.right, round.asked, round.needed) if round else (0, 0, 0)
    return Nothing(
        "short",
        _("Thank you for the practice pairs"),
        _(
            "{right} of {asked} came out as expected; this project asks for {needed}. An admin sees that, and may let "
            "you in or give you another round. Until then no pairs come."
        ).format(right=right, asked=asked, needed=needed),
    )


def _others_have_it(session: Session, access: Access) -> Nothing | None:
    waiting = select(Comparison).where(
        Comparison.project_id == access.project.id,
        Comparison.status == "waiting",
        ORDINARY,
    )
    unanswered = waiting.where(room.IS_UNANSWERED).params(person=access.person.id)
    mine = unanswered.where(room.IS_WITHIN_ABILITIES).params(abilities=access.person.abilities)
    if session.scalar(select(mine.exists())):
        return Nothing(
            "held",
            _("Others are looking at the last pairs"),
            _("As soon as somebody lets one go, it appears here."),
        )
    needed = set(session.scalars(unanswered.with_only_columns(func.unnest(Comparison.needs)).distinct()))
    if needed:
        return Nothing(
            "abilities",
            _("The pairs that wait need other languages or skills"),
            _("They need: {needs}. If you can judge that, ask an admin to say so on your page under People.").format(
                needs=", ".join(sorted(needed - set(access.person.abilities or ())))
            ),
        )
    if not session.scalar(select(waiting.exists())):
        return None
    return Nothing(
        "answered",
        _("You have been through every pair"),
        _("Those that still wait need the view of somebody else. New ones appear here by themselves."),
    )


def _the_model_writes(session: Session, access: Access) -> Nothing | None:
    run = session.scalar(
        select(Run)
        .where(Run.project_id == access.project.id, Run.kind.in_(("sample", "chain")), Run.status.not_in(FINISHED))
        .order_by(Run.kind.desc(), Run.id.desc())
        .limit(1)
    )
    if run is None:
        return None
    if run.kind == "chain":
        return Nothing(
            "training",
            _("The model is learning from your answers"),
            _("When it is done, it writes new pairs, and they appear here by themselves."),
        )
    return Nothing(
        "sampling",
        _("The model is writing the next pairs"),
        _("The first of them appear here by themselves, usually within a minute."),
    )


def _out_of_prompts(session: Session, access: Access) -> Nothing:
    project = access.project
    prompts = exists().where(Prompt.project_id == project.id, Prompt.sampled, Prompt.withdrawn_at.is_(None))
    if session.scalar(select(prompts)):
        return _the_model_rests(session, access)
    if session.scalar(select(exists().where(Comparison.project_id == project.id))):
        return Nothing(
            "done", _("All done"), _("Every pair of this project has its answers. Pairs that are added appear here.")
        )
    return Nothing(
        "no_prompts",
        _("There are no prompts yet"),
        _("An admin brings prompts in under Prompts; then the model writes pairs, and they appear here."),
    )


def _the_model_rests(session: Session, access: Access) -> Nothing:
    if access.project.paused_at is not None:
        return Nothing(
            "paused",
            _("No new pairs are being written"),
            _("An operator paused the project. When it goes on, new pairs appear here by themselves."),
        )
    if Sampling.from_json(access.project.sampling).stock == 0:
        return Nothing(
            "paused",
            _("No new pairs are being written"),
            _("The project's stock is set to 0. An operator can start a sample run; its pairs appear here."),
        )
    last = session.scalar(
        select(Run).where(Run.project_id == access.project.id, Run.kind == "sample").order_by(Run.id.desc()).limit(1)
    )
    if last is not None and last.status == "failed":
        return Nothing(
            "failed",
            _("The model could not write new pairs"),
            _("The next attempt follows within minutes. If this stays, tell an operator: the run page says why."),
        )
    return Nothing(
        "waiting",
        _("Waiting for the model"),
        _("It writes the next pairs as soon as it is free, and they appear here by themselves."),
    )
