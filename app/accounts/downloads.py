"""Texts of any length as files to download: written to disk while they are made, sent when all of them is there."""

import tempfile
from collections.abc import Iterable, Iterator

from fastapi.responses import StreamingResponse

CHUNK = 256 * 1024
IN_MEMORY = 4 * 1024 * 1024


def send(parts: Iterable[str], name: str, media_type: str) -> StreamingResponse:
    """The parts as a file of this name. They are read before this returns, within the transaction they come from."""
    file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115, closed when it was sent
    try:
        for part in parts:
            file.write(part.encode())
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(CHUNK):
                yield chunk

    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(size)}
    return StreamingResponse(chunks(), headers=headers, media_type=media_type)
