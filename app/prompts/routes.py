"""The door of prompts: the page where they are brought in and looked through, and the JSON API."""

import io
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from pydantic import Field
from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile

from app.accounts.access import Access, AdminOf, page_context
from app.database import Transaction
from app.errors import BadInput, TooLarge
from app.languages import _
from app.lists import SIZE, Asked
from app.prompts import bodies, bulk, comparisons, imports, lists, prompts
from app.prompts.bodies import Body
from app.prompts.bulk_pages import pages as bulk_pages
from app.templating import page

pages = APIRouter(prefix="/projects/{slug}/prompts")
api = APIRouter(prefix="/api/v1/projects/{slug}", tags=["prompts"])

PASTE = 1_000_000  # bytes; more comes as a file
SENT = {
    "requestBody": {
        "required": True,
        "description": "A JSON list, or JSON Lines, of up to 64 MB; the first character says which.",
        "content": {"application/json": {}, "application/jsonl": {}},
    },
}


class Look(Asked):
    """The list's address: what came of an import or of a press on the ticked ones stands above it."""

    brought: int | None = Field(None, alias="import", ge=1)
    done: int | None = Field(None, ge=1)
    limit: int = Field(SIZE, ge=1, le=500)


@pages.get("")
def prompts_page(
    request: Request,
    access: AdminOf,
    session: Transaction,
    asked: Annotated[Look, Query()],
) -> Response:
    """Bring prompts in, see what came of it, look through those that are there."""
    values = {
        "brought": imports.find(session, access.project, asked.brought) if asked.brought else None,
        "done": bulk.find(session, access, asked.done) if asked.done else None,
    }
    return _page(request, access, session, values, asked)


def _page(
    request: Request,
    access: Access,
    session: Session,
    values: dict[str, Any],
    asked: Asked | None = None,
    *,
    status: int = 200,
) -> Response:
    here = f"/projects/{access.project.slug}/prompts"
    shown = {
        **page_context(access, "prompts"),
        "brought": None,
        "done": None,
        "said": bulk.sentence,
        "problem": "",
        "typed": {"what": "prompts", "kind": "", "text": ""},
        "listing": lists.listed(session, access.project, asked or Asked(), here),
        "counts": lists.counts(session, access.project),
        "most": lists.MOST,
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


pages.include_router(bulk_pages)


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
    asked: Annotated[Look, Query()],
) -> dict[str, Any]:
    """The project's prompts, newest first; `q` and `sort` are as on the page."""
    found = lists.listed(session, access.project, asked, "", asked.limit)
    return {"items": [prompts.as_json(prompt) for prompt in found.rows], "next": found.next}


@api.post("/comparisons", openapi_extra=SENT)
def add_comparisons(access: AdminOf, session: Transaction, body: Body) -> dict[str, Any]:
    """Bring ready-made comparisons in: a `prompt` with two `responses`, or with `chosen` and `rejected`.

    With `preferred` (0, 1, "tie" or "both_bad"), or as `chosen` and `rejected`, a comparison is complete with an
    imported answer; without one it waits to be labelled. Prompt and responses are texts or lists of messages.
    """
    return comparisons.add(session, access.project, bodies.entries(body), "api").to_json()
