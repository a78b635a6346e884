"""The door of app/live_head: the page of scores, the page of one score, and the API."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response as HttpResponse

from app.accounts.access import OperatorOf, Person, page_context
from app.database import Transaction
from app.errors import NotFound
from app.languages import _
from app.live_head import heads, influences
from app.templating import page

pages = APIRouter(prefix="/projects/{slug}/live-head")
api = APIRouter(prefix="/api/v1", tags=["live head"])


@pages.get("")
def live_head_page(request: Request, session: Transaction, access: OperatorOf) -> HttpResponse:
    values = {
        "estimate": heads.sentence(heads.find(session, access.project.id)),
        "newest": influences.newest(session, access),
    }
    return page(request, "live_head/live_head.html", page_context(access, "runs") | values)


@pages.get("/{response_id}")
def score_page(
    request: Request,
    session: Transaction,
    access: OperatorOf,
    response_id: str,
    shown: Annotated[list[int], Query()] = [],  # noqa: B006 - FastAPI copies it
    counted: Annotated[list[int], Query()] = [],  # noqa: B006
) -> HttpResponse:
    """`shown` names the answers that had a box, `counted` those whose box is ticked: a browser sends no other boxes."""
    found_in, response = influences.find_response(session, access.person, response_id)
    if found_in.project.id != access.project.id:
        raise NotFound(_("There is no response {response_id!r} in this project.").format(response_id=response_id))
    found = influences.explain(session, access, response, set(shown) - set(counted))
    return page(request, "live_head/score.html", page_context(access, "runs") | {"found": found})


@api.get("/responses/{response_id}/influences")
def read_influences(
    person: Person,
    session: Transaction,
    response_id: str,
    without: Annotated[list[int], Query(description="Answers to leave out.")] = [],  # noqa: B006
) -> dict[str, Any]:
    """The live head's score of a response, and the five answers that moved it most; operators."""
    access, response = influences.find_response(session, person, response_id)
    return influences.as_json(influences.explain(session, access, response, set(without)))
