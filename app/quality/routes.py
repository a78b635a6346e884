"""The door of app/quality: the overview, an annotator's page, taste, and the JSON API."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.access import Access, AdminOf, MemberOf, page_context
from app.database import Transaction
from app.errors import BadInput, Conflict
from app.labeling import rounds
from app.lists import Asked, in_order
from app.quality import annotators, comparisons, disagreements, given, overview, standings, tastes, weeks
from app.quality.access import Id, QualityOf, context
from app.quality.agreement import Agreement
from app.quality.annotators import Figures
from app.quality.desk_pages import pages as desk_pages
from app.quality.shares import Share
from app.templating import page

pages = APIRouter(prefix="/projects/{slug}")
api = APIRouter(prefix="/api/v1/projects/{slug}", tags=["quality"])
pages.include_router(desk_pages)

RECENT = 10
"""How many disagreements an annotator's page shows."""


@pages.get("/quality")
def overview_page(
    request: Request,
    session: Transaction,
    access: QualityOf,
    asked: Annotated[Asked, Query()],
    simulated: bool = False,
) -> Response:
    found = overview.look(session, access, simulated=simulated)
    path, also = f"/projects/{access.project.slug}/quality", {"simulated": "true" if simulated else ""}
    values = {
        "found": found,
        "listing": in_order(found.annotators, overview.COLUMNS, asked, path, "-answers", also=also),
        "simulated": simulated,
        "most": given.MOST,
        "sentence": overview.sentence(found.nominal),
        "to_adjudicate": len(disagreements.waiting(session, found.answers)),
    }
    return page(request, "quality/overview.html", context(access, "overview") | values)


@pages.get("/quality/annotators/{id}")
def annotator_page(request: Request, session: Transaction, access: QualityOf, id: Id) -> Response:
    return _annotator(request, session, access, id)


@pages.post("/quality/annotators/{id}/{decision}")
def decide(
    request: Request,
    session: Transaction,
    access: AdminOf,
    id: Id,
    decision: str,
    reason: Annotated[str, Form()] = "",
) -> Response:
    person = standings.find_annotator(session, access, id)
    try:
        standings.decide(session, access, person, decision, reason)
    except (BadInput, Conflict) as problem:
        return _annotator(request, session, access, id, problem.message, decision, problem.status)
    return RedirectResponse(f"/projects/{access.project.slug}/quality/annotators/{id}", 303)


def _annotator(
    request: Request,
    session: Session,
    access: Access,
    id: int,
    problem: str = "",
    decision: str = "",
    status: int = 200,
) -> Response:
    other = standings.find_annotator(session, access, id)
    found = overview.look(session, access, simulated=other.kind == "simulated")
    standing = standings.of_project(session, access).get(id)
    theirs = [answer for answer in found.answers if answer.person == id]
    by_week = weeks.weeks_of(theirs, found.known)
    odd_ones = [answer.comparison for answer, agrees in annotators.agreeing(theirs, found.known).items() if not agrees]
    values = {
        "other": other,
        "figures": annotators.figures_of(theirs, found.known),
        "standing": standing,
        "round": rounds.of(session, access.project, other),
        "decider": standings.decider(session, standing),
        "weeks": by_week,
        "lines": weeks.lines_of(by_week),
        "disagreements": comparisons.look(session, access, odd_ones[:RECENT]),
        "taste": tastes.of(session, access, id),
        "most": given.MOST,
        "of_all": found.of_all,
        "problem": problem,
        "decision": decision,
    }
    return page(request, "quality/annotator.html", context(access, "overview") | values, status=status)


@pages.get("/quality/taste")
def taste_page(request: Request, session: Transaction, access: QualityOf, simulated: bool = False) -> Response:
    found = tastes.of(session, access, simulated=simulated)
    return page(request, "quality/taste.html", context(access, "taste") | {"taste": found, "simulated": simulated})


@pages.get("/taste")
def own_taste_page(request: Request, session: Transaction, access: MemberOf) -> Response:
    found = tastes.of(session, access, access.person.id)
    return page(request, "quality/own_taste.html", page_context(access, "taste") | {"taste": found})


@api.get("/quality")
def read_quality(session: Transaction, access: QualityOf, simulated: bool = False) -> dict[str, Any]:
    """Agreement among the newest answers, and every annotator's figures; admins and operators.

    Agreement is over what was preferred (`nominal`) and over the seven steps (`ordinal`); `low` and `high` are the
    ends of 95 % intervals; what is not defined is null.
    """
    found = overview.look(session, access, simulated=simulated)
    return {
        "answers": len(found.answers),
        "nominal": _agreement(found.nominal),
        "ordinal": _agreement(found.ordinal),
        "annotators": [
            {
                "annotator": str(one.person.id),
                "paused": bool(one.standing and one.standing.paused_at),
                "excluded": bool(one.standing and one.standing.excluded_at),
                **_figures(one.figures),
            }
            for one in found.annotators
        ],
    }


def _agreement(found: Agreement) -> dict[str, float | None]:
    return {"comparisons" if name == "units" else name: value for name, value in found._asdict().items()}


def _figures(figures: Figures) -> dict[str, Any]:
    shares = ("agrees", "gold", "left", "consistent", "swapped", "skipped", "corrected", "undone")
    return {
        "answers": figures.answers,
        **{name: _share(getattr(figures, name)) for name in shares},
        "seconds": figures.seconds,
        "gold_a_minute": figures.gold_a_minute,
    }


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval or (None, None)
    return {"share": share.value, "of": share.trials, "low": low, "high": high}
