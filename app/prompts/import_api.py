"""The JSON API of imports: send a file of any size, watch what comes of it, take it back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from app.accounts.access import AdminOf, Person
from app.database import Transaction, give_back
from app.errors import BadInput, TooLarge
from app.languages import _
from app.prompts import imports, previews, uploads, withdrawals
from app.prompts.bodies import HELD

api = APIRouter(prefix="/api/v1")

PAGE = 20
SENT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself, or a form with it as `file`; what it is, its content says. Up to 4 GB.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    },
}
RunId = Annotated[int, Path(ge=1, le=2**62)]


class Sent(NamedTuple):
    """A file that came with a request, and its name there."""

    file: IO[bytes]
    name: str


async def sent_file(request: Request, session: Transaction) -> AsyncIterator[Sent]:
    """The file of a request, on disk where it is large; raises TooLarge before it is read where it says so itself.

    It may take minutes to arrive, so the guard stands before it, and no connection is held meanwhile.
    """
    if int(request.headers.get("content-length") or 0) > uploads.MOST + HELD:
        raise TooLarge(_(uploads.TOO_MUCH))
    await run_in_threadpool(give_back, session)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=200) as form:
            found = form.get("file")
            if not isinstance(found, UploadFile):
                raise BadInput(_("Send the file as the field “file” of the form."))
            yield Sent(found.file, found.filename or "")
        return
    with SpooledTemporaryFile(HELD) as file:
        async for chunk in request.stream():
            if file.tell() + len(chunk) > uploads.MOST:
                raise TooLarge(_(uploads.TOO_MUCH))
            # Once on disk, a write may wait for it; other requests must not.
            await asyncio.to_thread(file.write, chunk) if file.tell() > HELD else file.write(chunk)
        file.seek(0)
        yield Sent(file, request.query_params.get("name", ""))


Body = Annotated[Sent, Depends(sent_file, scope="function")]


class How(NamedTuple):
    """What a request says of its file; all of it may be left to be recognised."""

    format: str
    layout: str
    mapping: dict[str, str]


def how(
    format: Annotated[str, Query(description="text, csv, json, jsonl or parquet.")] = "",
    layout: Annotated[str, Query(description="prompts, preference, pairs, hh, scored, arena, …")] = "",
    map: Annotated[Sequence[str], Query(description="Which column is what, such as prompt=question.")] = (),
) -> How:
    return How(format, layout, mapping_of(map))


def mapping_of(pairs: Sequence[str]) -> dict[str, str]:
    """`["prompt=question"]` as `{"prompt": "question"}`; raises BadInput where there is no equals sign."""
    for pair in pairs:
        if "=" not in pair:
            raise BadInput(
                _("Write a mapping as part=column, such as prompt=question, not {pair!r}.").format(pair=pair)
            )
    return {part.strip(): column for part, _equals, column in (pair.partition("=") for pair in pairs)}


HowSent = Annotated[How, Depends(how)]


@api.post("/projects/{slug}/imports", status_code=202, openapi_extra=SENT)
def start_import(access: AdminOf, session: Transaction, said: HowSent, sent: Body) -> dict[str, Any]:
    """Bring a file in: prompts, or comparisons with or without answers. Read the import again until it has ended.

    The file may be text, CSV, JSON, JSON Lines or Parquet, the text kinds compressed with gzip or zstd. `layout` and
    `map` are recognised where they are not given; 422 where none of the first rows can be used, and nothing is stored.
    """
    upload = uploads.keep(session, access, sent.file, sent.name)
    try:
        run = imports.request(session, access, upload, *said)
    except BadInput:
        uploads.forget(session, upload)
        raise
    return imports.as_json(session, run)


@api.post("/projects/{slug}/imports/preview", openapi_extra=SENT)
def preview_import(access: AdminOf, session: Transaction, said: HowSent, sent: Body) -> dict[str, Any]:
    """What the file would become: its layout, mapping and columns, and its first rows as they would be stored."""
    return previews.look(session, access.project, sent.file, *said).to_json()


@api.get("/projects/{slug}/imports")
def list_imports(
    access: AdminOf,
    session: Transaction,
    cursor: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> dict[str, Any]:
    """The project's imports, newest first."""
    found = imports.newest(session, access.project, cursor, limit + 1)
    more = str(found[limit - 1].id) if len(found) > limit else None
    return {"items": [imports.as_json(session, run) for run in found[:limit]], "next": more}


@api.get("/imports/{run_id}")
def read_import(person: Person, session: Transaction, run_id: RunId) -> dict[str, Any]:
    """How far it is, and what came of it: added, duplicates, and the lines that could not be used, each with why."""
    return imports.as_json(session, imports.find(session, person, run_id))


@api.get("/imports/{run_id}/wrong-lines", response_class=PlainTextResponse)
def import_wrong_lines(person: Person, session: Transaction, run_id: RunId) -> Response:
    """The refused lines as they were sent, to be mended and brought again."""
    return wrong_lines_response(imports.wrong_lines_file(session, imports.find(session, person, run_id)), run_id)


def wrong_lines_response(text: str, run_id: int) -> Response:
    """The lines as a file to keep."""
    headers = {"Content-Disposition": f'attachment; filename="wrong-lines-{run_id}.txt"'}
    return PlainTextResponse(text, headers=headers)


@api.post("/imports/{run_id}/cancel")
def cancel_import(person: Person, session: Transaction, run_id: RunId) -> dict[str, Any]:
    """Stop it within two seconds; what is in by then stays."""
    run = imports.find(session, person, run_id)
    return imports.as_json(session, imports.cancel(session, run))


@api.post("/imports/{run_id}/withdraw")
def withdraw_import(person: Person, session: Transaction, run_id: RunId) -> dict[str, Any]:
    """Take back what it brought; 409 where people have worked with it, or a snapshot has it."""
    run = imports.find(session, person, run_id)
    withdrawals.withdraw(session, run)
    return imports.as_json(session, run)
