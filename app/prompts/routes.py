"""The door of prompts: the page where they are brought in and looked through, and the JSON API."""

import io
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile

from app.accounts.access import Access, AdminOf, page_context
from app.database import Transaction
from app.errors import BadInput, TooLarge
from app.languages import _
from app.prompts import bodies, comparisons, imports, prompts
from app.prompts.bodies import Body
from app.templating import page

pages = APIRouter(prefix="/projects/{slug}/prompts")
api = APIRouter(prefix="/api/v1/projects/{slug}", tags=["prompts"])

PAGE = 50
PASTE = 1_000_000  # bytes; more comes as a file
SENT = {
    "requestBody": {
        "required": True,
        "description": "A JSON list, or JSON Lines, of up to 64 MB; the first character says which.",
        "content": {"application/json": {}, "application/jsonl": {}},
    },
}


@pages.get("")
def prompts_page(
    request: Request,
    access: AdminOf,
    session: Transaction,
    q: str = "",
    cursor: Annotated[int | None, Query(ge=1)] = None,
    brought: Annotated[int | None, Query(alias="import", ge=1)] = None,
) -> Response:
    """Bring prompts in, see what came of it, look through those that are there."""
    values = {"q": q, "brought": imports.find(session, access.project, brought) if brought else None}
    return _page(request, access, session, values, cursor=cursor)


def _page(
    request: Request,
    access: Access,
    session: Session,
    values: dict[str, Any],
    *,
    cursor: int | None = None,
    status: int = 200,
) -> Response:
    found = prompts.search(session, access.project, values.get("q", ""), cursor, PAGE + 1)
    shown = {
        **page_context(access, "prompts"),
        "q": "",
        "brought": None,
        "problem": "",
        "typed": {"what": "prompts", "kind": "", "text": ""},
        "prompts": found[:PAGE],
        "next": found[PAGE - 1].id if len(found) > PAGE else None,
        "counts": prompts.counts(session, access.project),
    }
    return page(request, "prompts/prompts.html", {**shown, **values}, status=status)


async def sent_form(request: Request) -> AsyncIterator[FormData]:
    """The form with its file, which is not read at all where it is too large."""
    bodies.check_length(request)
    async with request.form(max_files=1, max_fields=20, max_part_size=PASTE) as form:
        yield form


# The form is read by `sent_form`; this limit ends a body that does not say how long it is.
@pages.post("", max_body_size=bodies.MOST + 2 * PASTE)
def bring_prompts(
    request: Request, access: AdminOf, session: Transaction, form: Annotated[FormData, Depends(sent_form)]
) -> Response:
    """Take a paste or a file in and go back to the page, which says what came of it."""
    typed = {name: str(form.get(name, "")) for name in ("what", "kind", "text")}
    chosen = form.get("file")
    try:
        if isinstance(chosen, UploadFile) and chosen.filename:
            if (chosen.size or 0) > bodies.MOST:
                raise TooLarge(bodies.TOO_MUCH)
            run = imports.bring(session, access, typed["what"], chosen.file, chosen.filename, typed["kind"])
        elif typed["text"].strip():
            run = imports.bring(session, access, typed["what"], io.BytesIO(typed["text"].encode()), "", typed["kind"])
        else:
            raise BadInput(_("Paste something or choose a file first."))
    except (BadInput, TooLarge) as refused:
        values = {"problem": refused.message, "typed": typed}
        return _page(request, access, session, values, status=refused.status)
    return RedirectResponse(f"/projects/{access.project.slug}/prompts?import={run.id}", 303)


@pages.get("/imports/{run_id}/wrong-lines")
def wrong_lines(access: AdminOf, session: Transaction, run_id: int) -> Response:
    """The refused lines as a file, to be mended and brought again."""
    text = imports.wrong_lines(imports.find(session, access.project, run_id))
    headers = {"Content-Disposition": f'attachment; filename="wrong-lines-{run_id}.txt"'}
    return PlainTextResponse(text, headers=headers)


async def ticked(request: Request) -> list[int]:
    """The numbers of the ticked prompts; raises BadInput where none is."""
    chosen = [int(str(id)) for id in (await request.form()).getlist("chosen") if str(id).isdecimal()]
    if not chosen:
        raise BadInput(_("Tick one or more prompts first."))
    return chosen


Chosen = Annotated[list[int], Depends(ticked)]


@pages.post("/withdraw")
def withdraw_prompts(access: AdminOf, session: Transaction, chosen: Chosen) -> Response:
    """Take the ticked prompts out of use."""
    prompts.withdraw(session, access.project, chosen)
    return RedirectResponse(f"/projects/{access.project.slug}/prompts", 303)


@pages.post("/restore")
def restore_prompts(access: AdminOf, session: Transaction, chosen: Chosen) -> Response:
    """Bring the ticked prompts back into use."""
    prompts.restore(session, access.project, chosen)
    return RedirectResponse(f"/projects/{access.project.slug}/prompts", 303)


@api.post("/prompts", openapi_extra=SENT)
def add_prompts(access: AdminOf, session: Transaction, body: Body) -> dict[str, Any]:
    """Bring prompts in: texts, or objects with `prompt` or `messages`, and `tags`, `source`, `priority`.

    `language` ("ko") and `needs` (["medicine"]) say what somebody must know to judge the answers.
    What cannot be used is listed in `rejected` with its line and why (the first thousand; `rejected_total` counts
    all), everything else is taken. Prompts that the project has already are `duplicates`.
    """
    return prompts.add(session, access.project, bodies.entries(body), "api").to_json()


@api.get("/prompts")
def list_prompts(
    access: AdminOf,
    session: Transaction,
    q: str = "",
    cursor: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
) -> dict[str, Any]:
    """The project's prompts, newest first; `q` searches as on the page."""
    found = prompts.search(session, access.project, q, cursor, limit + 1)
    more = str(found[limit - 1].id) if len(found) > limit else None
    return {"items": [prompts.as_json(prompt) for prompt in found[:limit]], "next": more}


@api.post("/comparisons", openapi_extra=SENT)
def add_comparisons(access: AdminOf, session: Transaction, body: Body) -> dict[str, Any]:
    """Bring ready-made comparisons in: a `prompt` with two `responses`, or with `chosen` and `rejected`.

    With `preferred` (0, 1, "tie" or "both_bad"), or as `chosen` and `rejected`, a comparison is complete with an
    imported answer; without one it waits to be labelled. Prompt and responses are texts or lists of messages.
    """
    return comparisons.add(session, access.project, bodies.entries(body), "api").to_json()
