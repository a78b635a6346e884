"""A stored file over HTTP: named, resumable, checkable; from any artefact store (RFC 9110, sections 8.8, 13 and 14)."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.datasets import artifacts

CHUNK = 256 * 1024


class StoredFile(NamedTuple):
    """What a download needs to know of a file. `sha256` is its entity tag: the same bytes, the same tag."""

    url: str
    name: str
    media_type: str
    sha256: str
    bytes: int


def send(request: Request, file: StoredFile) -> Response:
    """The whole file, the part that the client still lacks (206), or word that it has the file (304)."""
    tag = f'"{file.sha256}"'
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{file.name}"',
        # A browser may keep what it has and go on from there, but asks each time whether it may.
        "Cache-Control": "private, no-cache",
    }
    if tag in [given.strip() for given in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    wanted = None
    if request.headers.get("if-range", tag) == tag:
        wanted = _range(request.headers.get("range", ""), file.bytes)
    if wanted == range(0):
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{file.bytes}"})
    part = range(file.bytes) if wanted is None else wanted
    headers["Content-Length"] = str(len(part))
    if wanted is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.bytes}"
    status = 200 if wanted is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=file.media_type)
    return StreamingResponse(_read(file.url, part), status, headers, file.media_type)


def _range(header: str, size: int) -> range | None:
    """The bytes asked for; empty where the file has none of them, None where everything is to be sent.

    Several ranges at once are answered with the whole file, as the standard allows.
    """
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first == "":
        return range(max(0, size - int(last)), size) if int(last) else range(0)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1 if last else size)) if int(first) < size else range(0)


def _read(url: str, part: range) -> Iterator[bytes]:
    with artifacts.opened(url) as file:
        file.seek(part.start)
        left = len(part)
        while left and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
