"""The pages of comparisons to look at again: where people disagree, what surprised the model, and one alone."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from app.accounts.access import Access, AdminOf
from app.database import Transaction
from app.errors import BadInput, Conflict
from app.labeling import dock, leases, repeats
from app.labeling.dock import Sent
from app.models.policies import Labeling
from app.quality import comparisons, disagreements, given, golds, surprises
from app.quality.access import Id, QualityOf, context
from app.templating import page

pages = APIRouter(prefix="/quality")


@pages.get("/disagreements")
def disagreements_page(request: Request, session: Transaction, access: QualityOf) -> Response:
    split = disagreements.waiting(session, given.newest(session, access.project))
    values = {
        "listed": comparisons.look(session, access, split[: disagreements.SHOWN]),
        "more": max(0, len(split) - disagreements.SHOWN),
    }
    return page(request, "quality/disagreements.html", context(access, "disagreements") | values)


@pages.get("/surprises")
def surprises_page(request: Request, session: Transaction, access: QualityOf) -> Response:
    values = {"found": surprises.newest(session, access)}
    return page(request, "quality/surprises.html", context(access, "surprises") | values)


@pages.get("/comparisons/{id}")
def comparison_page(request: Request, session: Transaction, access: QualityOf, id: Id, done: str = "") -> Response:
    return _comparison(request, session, access, id, done=done)


@pages.post("/comparisons/{id}")
def adjudicate(request: Request, session: Transaction, access: AdminOf, id: Id, sent: Sent) -> Response:
    looked = comparisons.find(session, access, id)
    try:
        with session.begin_nested():
            comparisons.adjudicate(session, access, looked, dock.spoken(sent))
            if sent.get("gold"):
                golds.make(session, access, looked)
    except (BadInput, Conflict) as problem:
        return _comparison(request, session, access, id, sent, problem.message, problem.status)
    return RedirectResponse(f"/projects/{access.project.slug}/quality/disagreements", 303)


@pages.post("/comparisons/{id}/repeat")
def ask_once_more(
    request: Request, session: Transaction, access: AdminOf, id: Id, stay: Annotated[str, Form()] = ""
) -> Response:
    looked = comparisons.find(session, access, id)
    try:
        repeats.ask_once_more(session, looked.comparison)
    except Conflict as problem:
        return _comparison(request, session, access, id, None, problem.message, problem.status)
    here = f"comparisons/{id}?done=again" if stay else "surprises"
    return RedirectResponse(f"/projects/{access.project.slug}/quality/{here}", 303)


@pages.get("/gold")
def golds_page(request: Request, session: Transaction, access: QualityOf) -> Response:
    values = {
        "listed": golds.listed(session, access),
        "proposals": golds.proposals(session, access, given.newest(session, access.project)),
        "policy": Labeling.from_json(access.project.labeling),
    }
    return page(request, "quality/golds.html", context(access, "gold") | values)


@pages.post("/comparisons/{id}/gold")
def make_gold(request: Request, session: Transaction, access: AdminOf, id: Id) -> Response:
    try:
        golds.make(session, access, comparisons.find(session, access, id))
    except Conflict as problem:
        return _comparison(request, session, access, id, None, problem.message, problem.status)
    return RedirectResponse(f"/projects/{access.project.slug}/quality/gold", 303)


@pages.post("/comparisons/{id}/gold/end")
def end_gold(request: Request, session: Transaction, access: AdminOf, id: Id) -> Response:
    golds.end(session, comparisons.find(session, access, id))
    return RedirectResponse(f"/projects/{access.project.slug}/quality/gold", 303)


def _comparison(
    request: Request,
    session: Session,
    access: Access,
    id: int,
    sent: FormData | None = None,
    problem: str = "",
    status: int = 200,
    done: str = "",
) -> Response:
    looked = comparisons.find(session, access, id)
    expected = golds.expected_of(session, access, looked)
    refused = comparisons.why_not(access, looked)
    shown_left = "a" if refused else comparisons.begin(session, access, looked.comparison).shown_left
    values: dict[str, Any] = {
        "looked": looked,
        "left": shown_left,
        "pair": leases.pair_of(session, looked.comparison.id, shown_left),
        "refused": refused,
        "expected": golds.WORDS[expected] if expected else "",
        "gold": looked.comparison.purpose == "gold" and golds.WORDS[golds.choice_of(looked.comparison)],
        "done": done,
        "typed": dock.typed(sent or FormData()),
        "chosen": "",
        "problem": problem,
    }
    template = "quality/comparison.html" if refused else "quality/adjudicate.html"
    return page(request, template, context(access, "disagreements") | dock.asked(access) | values, status=status)
