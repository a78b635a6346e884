"""The door of prompts: the pages where they are looked through and brought in, and the JSON API."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from app.accounts.access import AdminOf, page_context
from app.database import Transaction
from app.lists import SIZE, Asked
from app.prompts import bodies, bulk, comparisons, import_api, import_pages, lists, prompts
from app.prompts.bodies import Body
from app.prompts.bulk_pages import pages as bulk_pages
from app.templating import page

pages = APIRouter(prefix="/projects/{slug}/prompts")
pages.include_router(import_pages.pages)
api = APIRouter(tags=["prompts"])
api.include_router(import_api.api)

HERE = "/api/v1/projects/{slug}"
SENT = {
    "requestBody": {
        "required": True,
        "description": "A JSON list, or JSON Lines, of up to 64 MB; the first character says which.",
        "content": {"application/json": {}, "application/jsonl": {}},
    },
}


class Look(Asked):
    """The list's address: what came of a press on the ticked ones stands above it; 0: nothing had to be changed."""

    done: int | None = Field(None, ge=0)
    limit: int = Field(SIZE, ge=1, le=500)


@pages.get("")
def prompts_page(
    request: Request,
    access: AdminOf,
    session: Transaction,
    asked: Annotated[Look, Query()],
) -> Response:
    """Look through the prompts that are there; others come in on a page of its own."""
    here = f"/projects/{access.project.slug}/prompts"
    listing = lists.listed(session, access.project, asked, here)
    several = listing.next is not None or bool(asked.cursor)
    values = {
        **page_context(access, "prompts"),
        "nothing_done": asked.done == 0,
        "done": bulk.find(session, access, asked.done) if asked.done else None,
        "said": bulk.sentence,
        "listing": listing,
        "matches": lists.matches(session, access.project, asked) if several else None,
        "counts": lists.counts(session, access.project),
        "most": lists.MOST,
    }
    return page(request, "prompts/prompts.html", values)


pages.include_router(bulk_pages)


@api.post(f"{HERE}/prompts", openapi_extra=SENT)
def add_prompts(access: AdminOf, session: Transaction, body: Body) -> dict[str, Any]:
    """Bring prompts in: texts, or objects with `prompt` or `messages`, and `tags`, `source`, `priority`.

    `language` ("ko") and `needs` (["medicine"]) say what somebody must know to judge the answers.
    What cannot be used is listed in `rejected` with its line and why (the first thousand; `rejected_total` counts
    all), everything else is taken. Prompts that the project has already are `duplicates`.
    """
    return prompts.add(session, access.project, bodies.entries(body), "api").to_json()


@api.get(f"{HERE}/prompts")
def list_prompts(
    access: AdminOf,
    session: Transaction,
    asked: Annotated[Look, Query()],
) -> dict[str, Any]:
    """The project's prompts, newest first; `q` and `sort` are as on the page."""
    found = lists.listed(session, access.project, asked, "", asked.limit)
    return {"items": [prompts.as_json(prompt) for prompt in found.rows], "next": found.next}


@api.post(f"{HERE}/comparisons", openapi_extra=SENT)
def add_comparisons(access: AdminOf, session: Transaction, body: Body) -> dict[str, Any]:
    """Bring ready-made comparisons in: a `prompt` with two `responses`, or with `chosen` and `rejected`.

    With `preferred` (0, 1, "tie" or "both_bad"), or as `chosen` and `rejected`, a comparison is complete with an
    imported answer; without one it waits to be labelled. Prompt and responses are texts or lists of messages.
    """
    return comparisons.add(session, access.project, bodies.entries(body), "api").to_json()
