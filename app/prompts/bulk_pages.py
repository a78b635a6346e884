"""What the page of prompts does to the ticked ones, or to all that match: one press, and a button that undoes it."""

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.access import Access, AdminOf
from app.database import Transaction
from app.errors import BadInput
from app.languages import _
from app.lists import Asked
from app.models import Prompt
from app.prompts import bulk, lists

pages = APIRouter(prefix="/bulk")

Action = Literal["withdraw", "restore", "tag", "untag", "prioritise"]


async def typed_fields(request: Request) -> dict[str, list[str]]:
    """The form's fields, each with everything that was sent."""
    form = await request.form()
    return {name: [str(value) for value in form.getlist(name)] for name in form}


Typed = Annotated[dict[str, list[str]], Depends(typed_fields)]


@pages.post("/undo/{event_id}")
def undo(access: AdminOf, session: Transaction, event_id: int, typed: Typed) -> Response:
    """Put back what this person did to prompts; that can be undone, too."""
    return _back(access, bulk.undo(session, access, event_id), typed)


@pages.post("/{action}")
def do(access: AdminOf, session: Transaction, action: Action, typed: Typed) -> Response:
    """Withdraw prompts, bring them back, tag them, or change their priority: the ticked ones, or all that match."""
    return _back(access, _do(session, access, action, _which(session, typed), typed), typed)


def _which(session: Session, typed: dict[str, list[str]]) -> bulk.Which:
    if typed.get("every"):
        return lists.matching(session, Asked(q=typed.get("q", [""])[0]))
    ids = [int(id) for id in typed.get("chosen", []) if id.isdecimal()]
    if not ids:
        raise BadInput(_("Tick one or more prompts first."))
    return Prompt.id.in_(ids)


def _do(session: Session, access: Access, action: Action, which: bulk.Which, typed: dict[str, list[str]]) -> bulk.Done:
    tag, priority = (typed.get(name, [""])[0].strip() for name in ("tag", "priority"))
    if action in ("tag", "untag"):
        return (bulk.tag if action == "tag" else bulk.untag)(session, access.project, which, tag)
    if action == "prioritise":
        return bulk.prioritise(session, access.project, which, _number(priority))
    return (bulk.withdraw if action == "withdraw" else bulk.restore)(session, access.project, which)


def _number(typed: str) -> int:
    try:
        return int(typed)
    except ValueError:
        sentence = _("The priority must be a whole number, such as 3, not {given!r}.")
        raise BadInput(sentence.format(given=typed[:40])) from None


def _back(access: Access, done: bulk.Done, typed: dict[str, list[str]]) -> Response:
    """To the place in the list where they came from, with the line that undoes."""
    place = {name: typed[name][0] for name in ("q", "sort", "cursor") if typed.get(name, [""])[0]}
    said = urlencode(place | {"done": done.id if done else 0})
    return RedirectResponse(f"/projects/{access.project.slug}/prompts?{said}", 303)
