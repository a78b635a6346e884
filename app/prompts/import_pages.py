"""The page on which files and pastes come in: what, a look at real rows, go; below it, what came of earlier ones."""

import io
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from app.accounts.access import Access, AdminOf, page_context
from app.database import Transaction, give_back
from app.errors import BadInput, NotFound, TooLarge
from app.languages import _
from app.models import FINISHED, Upload
from app.prompts import imports, layouts, previews, uploads, withdrawals
from app.prompts.formats import FORMATS
from app.prompts.import_api import RunId, wrong_lines_response
from app.prompts.previews import Preview
from app.templating import page

pages = APIRouter()

PASTE = 1_000_000  # bytes; more comes as a file
SHOWN = 20
COLUMN = "column-"
"""Begins the names of the form's fields that say which column is which part."""


class Look(BaseModel):
    """The form of the second step, as part of the page's address: how the file is to be read."""

    model_config = ConfigDict(extra="allow")

    format: str = ""
    layout: str = ""

    def mapping(self) -> dict[str, str]:
        """The columns that were chosen; those of another layout, chosen before, are left out."""
        given = {name.removeprefix(COLUMN): str(value) for name, value in (self.model_extra or {}).items()}
        known = layouts.LAYOUTS[self.layout].parts if self.layout in layouts.LAYOUTS else {}
        return {part: column for part, column in given.items() if part in known}


class Place(Look):
    """The same, with the file and the place in the list below."""

    file: int | None = None
    cursor: int | None = None


@pages.get("/import")
def import_page(request: Request, access: AdminOf, session: Transaction, place: Annotated[Place, Query()]) -> Response:
    """Three steps on one page; with a file, its first rows as they will be stored."""
    values = _looked_at(session, access, place)
    if request.headers.get("hx-target") == "import-check":
        # htmx asks for this part alone whenever the form changes.
        return page(request, "imports/_check.html", {**page_context(access, "prompts"), **values})
    return _page(request, access, session, values, cursor=place.cursor)


def _looked_at(session: Session, access: Access, place: Place) -> dict[str, Any]:
    upload: Upload | None = None
    preview: Preview | None = None
    problem = ""
    if place.file is not None:
        try:
            upload = uploads.find(session, access.project, place.file)
            give_back(session)
            with uploads.opened(upload) as file:
                preview = previews.look(session, access.project, file, place.format, place.layout, place.mapping())
        except (BadInput, NotFound) as refused:
            problem = refused.message
    return {"upload": upload, "preview": preview, "problem": problem, "look": place, **STEPS}


STEPS = {"layouts": layouts.LAYOUTS, "formats": FORMATS, "column": COLUMN}


def _page(
    request: Request,
    access: Access,
    session: Session,
    values: dict[str, Any],
    *,
    cursor: int | None = None,
    status: int = 200,
) -> Response:
    found = imports.newest(session, access.project, cursor, SHOWN + 1)
    shown = {
        **page_context(access, "prompts"),
        "upload": None,
        "preview": None,
        "problem": "",
        "typed": "",
        "look": Place(),
        **STEPS,
        "imports": found[:SHOWN],
        "wrong": {run.id: imports.wrong_lines(session, run, imports.TOLD) for run in found[:SHOWN]},
        "next": found[SHOWN - 1].id if len(found) > SHOWN else None,
        "finished": FINISHED,
    }
    return page(request, "imports/import.html", {**shown, **values}, status=status)


async def sent_form(request: Request, session: Transaction) -> AsyncIterator[FormData]:
    """The form with its file, which is not read at all where it is too large; no connection waits for it."""
    if int(request.headers.get("content-length") or 0) > uploads.MOST + 2 * PASTE:
        raise TooLarge(_(uploads.TOO_MUCH))
    await run_in_threadpool(give_back, session)
    async with request.form(max_files=1, max_fields=20, max_part_size=PASTE) as form:
        yield form


# The form is read by `sent_form`; this limit ends a body that does not say how long it is.
@pages.post("/import", max_body_size=uploads.MOST + 2 * PASTE)
def send_file(
    request: Request,
    access: AdminOf,
    session: Transaction,
    form: Annotated[FormData, Depends(sent_form, scope="function")],
) -> Response:
    """Keep a paste or a file and show its first rows; nothing is brought in yet."""
    typed, chosen = str(form.get("text", "")), form.get("file")
    try:
        if isinstance(chosen, UploadFile) and chosen.filename:
            upload = uploads.keep(session, access, chosen.file, chosen.filename)
        elif typed.strip():
            upload = uploads.keep(session, access, io.BytesIO(typed.encode(errors="replace")), "")
        else:
            raise BadInput(_("Paste something or choose a file first."))
    except (BadInput, TooLarge) as refused:
        return _page(request, access, session, {"problem": refused.message, "typed": typed}, status=refused.status)
    return RedirectResponse(f"{_here(access)}/import?file={upload.id}", 303)


UploadId = Annotated[int, Path(ge=1, le=2**62)]


@pages.post("/import/{upload_id}")
def start_import(
    request: Request, access: AdminOf, session: Transaction, upload_id: UploadId, look: Annotated[Look, Form()]
) -> Response:
    """Begin to bring the file in, as it was looked at."""
    upload = uploads.find(session, access.project, upload_id)
    try:
        run = imports.request(session, access, upload, look.format, look.layout, look.mapping())
    except BadInput as refused:
        values = _looked_at(session, access, Place.model_validate({**look.model_dump(), "file": upload.id}))
        return _page(request, access, session, {**values, "problem": refused.message}, status=refused.status)
    return RedirectResponse(f"{_here(access)}/import#import-{run.id}", 303)


@pages.post("/import/{upload_id}/forget")
def forget_file(access: AdminOf, session: Transaction, upload_id: UploadId) -> Response:
    """Delete the file and begin again."""
    uploads.forget(session, uploads.find(session, access.project, upload_id))
    return RedirectResponse(f"{_here(access)}/import", 303)


@pages.get("/imports/{run_id}")
def import_progress(request: Request, access: AdminOf, session: Transaction, run_id: RunId) -> Response:
    """One line of the list; asks for itself again until the import has ended."""
    run = imports.find(session, access.person, run_id, access.project)
    wrong = {run.id: imports.wrong_lines(session, run, imports.TOLD)}
    values = {
        **page_context(access, "prompts"),
        "run": run,
        "wrong": wrong,
        "finished": FINISHED,
        "layouts": layouts.LAYOUTS,
    }
    return page(request, "imports/_import.html", values)


@pages.post("/imports/{run_id}/cancel")
def cancel_import(access: AdminOf, session: Transaction, run_id: RunId) -> Response:
    """Stop an import; what is in by then stays."""
    run = imports.find(session, access.person, run_id, access.project)
    imports.cancel(session, run)
    return RedirectResponse(f"{_here(access)}/import#import-{run.id}", 303)


@pages.post("/imports/{run_id}/withdraw")
def withdraw_import(access: AdminOf, session: Transaction, run_id: RunId) -> Response:
    """Take back what an import brought."""
    run = imports.find(session, access.person, run_id, access.project)
    withdrawals.withdraw(session, run)
    return RedirectResponse(f"{_here(access)}/import#import-{run.id}", 303)


@pages.get("/imports/{run_id}/wrong-lines")
def wrong_lines(access: AdminOf, session: Transaction, run_id: RunId) -> Response:
    """The refused lines as a file, to be mended and brought again."""
    run = imports.find(session, access.person, run_id, access.project)
    return wrong_lines_response(imports.wrong_lines_file(session, run), run_id)


def _here(access: Access) -> str:
    return f"/projects/{access.project.slug}/prompts"
