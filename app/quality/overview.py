"""The quality of a project's answers at a glance: agreement, annotators, and what an answer costs people."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.labeling import rounds
from app.languages import _
from app.models import Qualification, Standing, User, now
from app.quality import annotators, standings
from app.quality.agreement import Agreement, agreement
from app.quality.annotators import Figures
from app.quality.given import CHOICES, LAST_STEP, MOST, Given, by_comparison, newest
from app.templating import called

PERIODS = (7, 30)
"""Days of which the costs are told beside those of all answers."""


@dataclass(frozen=True)
class Annotator:
    """One line of the table."""

    person: User
    figures: Figures
    standing: Standing | None
    round: Qualification | None


@dataclass(frozen=True)
class Overview:
    """What the page shows; `answers` are the newest, by people or by simulated annotators."""

    answers: list[Given]
    known: dict[int, list[Given]]
    """The counting answers of those whom nobody excluded, by comparison."""
    of_all: bool
    """Whether these are all the answers there are."""
    nominal: Agreement
    ordinal: Agreement
    annotators: list[Annotator]
    costs: list[tuple[int | None, Figures]]
    """By the last so many days, where anything was answered then; None: all."""


COLUMNS: dict[str, Callable[[Annotator], Any]] = {
    "name": lambda one: called(one.person).lower(),
    "answers": lambda one: one.figures.answers,
    "agrees": lambda one: one.figures.agrees.value,
    "gold": lambda one: one.figures.gold.value,
    "left": lambda one: one.figures.left.value,
    "same": lambda one: one.figures.consistent.value,
    "seconds": lambda one: one.figures.seconds,
    "skipped": lambda one: one.figures.skipped.value,
    "corrected": lambda one: one.figures.corrected.value,
}
"""What the table of annotators is sorted by."""


def look(session: Session, access: Access, *, simulated: bool) -> Overview:
    """Look at the newest answers; those of excluded annotators count in nobody's figures but their own."""
    answers = newest(session, access.project, simulated=simulated)
    decided = standings.of_project(session, access)
    trusted = [answer for answer in answers if not _is_excluded(decided.get(answer.person))]
    known = by_comparison(trusted)
    everybody = {person: annotators.figures_of(said, known) for person, said in annotators.by_person(answers).items()}
    people = session.scalars(select(User).where(User.id.in_(everybody)))
    practised = rounds.of_project(session, access.project)
    listed = [Annotator(one, everybody[one.id], decided.get(one.id), practised.get(one.id)) for one in people]
    # Who adjudicated saw what the others had said, so that agreement says nothing.
    independent = [[answer for answer in said if not answer.adjudicates] for said in known.values()]
    return Overview(
        answers=answers,
        known=known,
        of_all=len(answers) < MOST,
        nominal=agreement(
            ([CHOICES.index(answer.choice) for answer in said] for said in independent), len(CHOICES), "nominal"
        ),
        ordinal=agreement(
            ([step for answer in said if (step := answer.step) is not None] for said in independent),
            LAST_STEP + 1,
            "ordinal",
        ),
        annotators=sorted(listed, key=lambda one: (-one.figures.answers, one.person.id)),
        costs=_costs(answers, known),
    )


def sentence(found: Agreement) -> str:
    """Alpha in words: what it is, or why it is not defined."""
    if not found.units:
        return _(
            "Agreement is not defined yet: no comparison has answers by two people. Set answers per comparison to 2 "
            "or more in the settings."
        )
    percent = round(100 * (found.percent or 0))
    if found.alpha is None:
        return _(
            "People agreed on {percent} % of pairs of answers. Alpha is not defined: all answers are the same, so "
            "chance alone would agree as well."
        ).format(percent=percent)
    return _(
        "People agreed on {percent} % of pairs of answers. Krippendorff's alpha is {alpha} [{low}, {high}], where 1 is "
        "full agreement and 0 what chance would do."
    ).format(
        percent=percent,
        **{name: f"{getattr(found, name):.2f}" for name in ("alpha", "low", "high")},
    )


def _is_excluded(standing: Standing | None) -> bool:
    return standing is not None and standing.excluded_at is not None


def _costs(answers: list[Given], known: dict[int, list[Given]]) -> list[tuple[int | None, Figures]]:
    found: list[tuple[int | None, Figures]] = []
    for days in PERIODS:
        recent = [answer for answer in answers if answer.created > now() - timedelta(days=days)]
        # A period in which everything was answered says nothing that the whole does not.
        if 0 < len(recent) < len(answers):
            found.append((days, annotators.figures_of(recent, known)))
    return [*found, (None, annotators.figures_of(answers, known))] if answers else []
