"""Files on their way in: kept privately in the artefact store from the upload until they are read, a day at most."""

import contextlib
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO

import fsspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.database import open_session
from app.datasets import artifacts
from app.errors import NotFound, TooLarge
from app.languages import N_, _
from app.models import FINISHED, Project, Run, Upload, now
from app.prompts.bodies import CHUNK

MOST = 4 * 1024**3
"""Bytes that one file may have."""
TOO_MUCH = N_("This file is larger than 4 GB. Send it in parts, or compressed with gzip or zstd.")
KEPT = timedelta(days=1)
NAME = "upload"


def keep(session: Session, access: Access, file: IO[bytes], name: str) -> Upload:
    """Put a file into the store; raises TooLarge."""
    url = artifacts.url_of("uploads", secrets.token_hex(16))
    with artifacts.made_for(url) as directory:
        size = _copied(file, directory / NAME)
        artifacts.put(directory, url)
    known = {"project_id": access.project.id, "person_id": access.person.id, "name": plain_name(name)}
    upload = Upload(**known, url=url, bytes=size)
    session.add(upload)
    session.flush()
    return upload


def _copied(file: IO[bytes], path: Path) -> int:
    with path.open("wb") as kept:
        while piece := file.read(CHUNK):
            kept.write(piece)
            if kept.tell() > MOST:
                raise TooLarge(_(TOO_MUCH))
        return kept.tell()


def find(session: Session, project: Project, upload_id: int) -> Upload:
    """A project's file; NotFound once it was read or its day is over."""
    found = session.get(Upload, upload_id)
    if found is None or found.project_id != project.id:
        raise NotFound(_("This file is not here any more: it was brought in, or a day has passed. Send it again."))
    return found


@contextlib.contextmanager
def opened(upload: Upload) -> Iterator[IO[bytes]]:
    """The file, for reading and seeking; NotFound where it is gone."""
    try:
        with artifacts.opened(f"{upload.url}/{NAME}") as file:
            yield file
    except FileNotFoundError as problem:
        raise NotFound(_("This file is not here any more. Send it again.")) from problem


def forget(session: Session, upload: Upload) -> None:
    """Delete the file, and what is known of it."""
    filesystem, path = fsspec.core.url_to_fs(upload.url)
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm(path, recursive=True)
    session.delete(upload)
    session.flush()


def forget_old() -> None:
    """Delete files that nobody brought in within a day; those of a run that is under way stay."""
    busy = select(Run.params["upload"].astext).where(Run.kind == "import", Run.status.not_in(FINISHED))
    with open_session() as session:
        under_way = set(session.scalars(busy))
        for upload in session.scalars(select(Upload).where(Upload.created_at < now() - KEPT)).all():
            if str(upload.id) not in under_way:
                forget(session, upload)


def plain_name(name: str) -> str:
    """A file's name as text that can be stored and shown: its last part, without control characters, not too long."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    plain = "".join(one for one in last.encode(errors="replace").decode() if one.isprintable())
    return plain.strip()[:100]
