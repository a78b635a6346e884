"""The label page and the history of one's own answers: forms first, htmx swaps the same fragment on top."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from app import languages
from app.accounts.access import Access, AnnotatorOf, page_context
from app.database import Transaction
from app.errors import BadInput, Conflict, DomainError, Gone, NotFound
from app.labeling import answers, desk, dock, history, leases, readings, rounds, words
from app.labeling.dock import Sent
from app.lists import Asked
from app.models import Answer, GuidelineVersion
from app.models.policies import Labeling
from app.templating import page

pages = APIRouter(prefix="/projects/{slug}")

Id = Annotated[int, Path(ge=1, lt=2**63)]


@pages.get("/label")
def label_page(
    request: Request,
    session: Transaction,
    access: AnnotatorOf,
    waiting: str = "",
    saved: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> Response:
    before = _desk(session, access)
    if waiting and before["desk"].nothing is not None and before["desk"].nothing.state == waiting:
        # Still nothing, for the same reason: the page stays as it is.
        return Response(status_code=204)
    if saved is not None:
        mine = (Answer.assignment_id == saved, Answer.user_id == access.person.id)
        stored = session.scalar(select(Answer).where(*mine))
        before["saved"] = _said(access, stored) if stored else ""
    return _show(request, session, access, before)


@pages.post("/label/guidelines/{version}")
def read_guidelines(request: Request, session: Transaction, access: AnnotatorOf, version: Id) -> Response:
    readings.confirm(session, access, version)
    return _go_on(request, session, access)


@pages.post("/label/practice")
def begin_practice(request: Request, session: Transaction, access: AnnotatorOf) -> Response:
    if rounds.stage(session, access) == "due":
        rounds.begin(session, access)
    return _go_on(request, session, access)


@pages.post("/label/practice/seen")
def practice_seen(request: Request, session: Transaction, access: AnnotatorOf) -> Response:
    rounds.told(session, access)
    return _go_on(request, session, access)


def _go_on(request: Request, session: Session, access: Access) -> Response:
    """What comes after something that came first."""
    if "hx-request" not in request.headers:
        return RedirectResponse(f"/projects/{access.project.slug}/label", 303)
    return _show(request, session, access, _desk(session, access))


@pages.post("/label/{id}")
def answer(request: Request, session: Transaction, access: AnnotatorOf, id: Id, sent: Sent) -> Response:
    try:
        stored = answers.record(session, access, id, dock.spoken(sent))
    except BadInput as problem:
        shown = _desk(session, access, problem, typed=dock.typed(sent))
    except (Conflict, Gone) as problem:
        shown = _desk(session, access, problem)
    else:
        if "hx-request" not in request.headers:
            return RedirectResponse(f"/projects/{access.project.slug}/label?saved={id}", 303)
        shown = _desk(session, access)
        shown["saved"] = _said(access, stored)
    return _show(request, session, access, shown)


@pages.post("/label/{id}/undo")
def undo(request: Request, session: Transaction, access: AnnotatorOf, id: Id) -> Response:
    try:
        # What is found to be impossible half-way must leave the answer where it was.
        with session.begin_nested():
            undone = answers.undo(session, access, id)
    except (Conflict, NotFound) as problem:
        return _show(request, session, access, _desk(session, access, problem))
    if "hx-request" not in request.headers:
        return RedirectResponse(f"/projects/{access.project.slug}/label", 303)
    shown = _desk(session, access, typed=dock.as_typed(undone))
    shown["chosen"] = words.value_of(undone, history.shown_left(undone))
    return _show(request, session, access, shown)


@pages.get("/history")
def history_page(
    request: Request,
    session: Transaction,
    access: AnnotatorOf,
    search: str = "",
    verdict: str = "",
    flag: str = "",
    since: str = "",
    until: str = "",
    sort: str = "",
    cursor: str = "",
) -> Response:
    wanted = history.Wanted.typed(search, verdict, flag, since, until)
    asked = Asked(sort=sort, cursor=cursor)
    values = {
        "listing": history.listed(session, access, wanted, languages.zone(), asked, request.url.path),
        "wanted": wanted,
        "verdicts": words.VERDICTS,
        "flags": words.FLAGS,
    }
    return page(request, "labeling/history.html", {**page_context(access, "history"), **values})


@pages.get("/history/{id}")
def edit_page(request: Request, session: Transaction, access: AnnotatorOf, id: Id) -> Response:
    known = answers.own(session, access, id)
    return _edit(request, session, access, known)


@pages.post("/history/{id}")
def edit(request: Request, session: Transaction, access: AnnotatorOf, id: Id, sent: Sent) -> Response:
    known = answers.own(session, access, id)
    try:
        answers.correct(session, access, id, dock.spoken(sent))
    except (BadInput, Conflict) as problem:
        return _edit(request, session, access, known, problem, dock.typed(sent))
    return RedirectResponse(f"/projects/{access.project.slug}/history", 303)


def _desk(
    session: Session,
    access: Access,
    problem: DomainError | None = None,
    typed: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What the label page shows next, with a problem above the dock and what was typed kept."""
    return {
        "desk": desk.lay(session, access, languages.zone()),
        "problem": problem.message if problem else "",
        "status": problem.status if problem else 200,
        "typed": typed or dock.typed(FormData()),
        "chosen": "",
        "saved": "",
    }


def _show(request: Request, session: Session, access: Access, shown: dict[str, Any]) -> Response:
    values = {**page_context(access, "label"), **dock.asked(access), **shown}
    if "hx-request" in request.headers:
        return page(request, "labeling/_desk.html", values, status=shown["status"])
    newest = select(GuidelineVersion).where(GuidelineVersion.project_id == access.project.id)
    values["guidelines"] = session.scalar(newest.order_by(GuidelineVersion.version.desc()).limit(1))
    return page(request, "labeling/label.html", values, status=shown["status"])


def _edit(
    request: Request,
    session: Session,
    access: Access,
    known: Answer,
    problem: DomainError | None = None,
    typed: dict[str, Any] | None = None,
) -> Response:
    shown_left = history.shown_left(known)
    policy = dock.asked(access)
    values = {
        **page_context(access, "history"),
        **policy,
        "answer": known,
        "said": words.said(known, shown_left, policy["policy"].strengths),
        "pair": leases.pair_of(session, known.comparison_id, shown_left),
        "chosen": words.value_of(known, shown_left),
        "typed": typed or dock.as_typed(known),
        "problem": problem.message if problem else "",
    }
    return page(request, "labeling/edit.html", values, status=problem.status if problem else 200)


def _said(access: Access, stored: Answer) -> str:
    strengths = Labeling.from_json(access.project.labeling).strengths
    return words.said(stored, history.shown_left(stored), strengths)
