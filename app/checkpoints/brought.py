"""A model trained elsewhere, brought back as one archive: looked at before anything is unpacked, then a candidate.

Only safetensors and JSON are ever read. A pickle can run code when it is opened: an archive that holds one is refused.
"""

import posixpath
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access, may
from app.checkpoints import checkpoints
from app.datasets import artifacts, snapshots
from app.errors import BadInput, NotFound, TooLarge
from app.languages import N_, _
from app.models import Checkpoint, Project, Run, User
from app.queue import enqueue

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".msgpack")
READ = (".safetensors", ".json")
MOST_BYTES = 16 * 2**30
"""Of an archive, and of what it unpacks to."""
MOST_FILES = 500
FILE = "archive"
DAMAGED = N_("This archive is damaged or encrypted. Pack it again, as a plain zip or tar.")
NO_ARCHIVE = N_(
    "This is neither a zip nor a tar archive, or it is damaged. Pack the model's directory as one of these."
)
LINK = N_("This archive holds a link ({name:.100}). Pack plain files alone.")


class Entry(NamedTuple):
    """One plain file of an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def bring(session: Session, access: Access, file: IO[bytes], name: str, snapshot: str = "") -> Run:
    """Take in an archive and have a worker make a candidate of it.

    `snapshot` is the SHA-256 of the answers that it was trained on, where that is known. Raises BadInput with a
    sentence for an archive that cannot be taken, TooLarge.
    """
    check(file)
    trained_on = snapshots.find(session, access.project, snapshot) if snapshot else None
    run = Run(
        project_id=access.project.id,
        kind="import",
        params={"what": "model", "file": _plain(name)},
        requested_by_id=access.person.id,
        snapshot_id=trained_on.id if trained_on else None,
        message="Waits for a worker.",
    )
    session.add(run)
    session.flush()
    url = place_of(run)
    with artifacts.made_for(url) as directory:
        file.seek(0)
        with (directory / FILE).open("wb") as kept:
            shutil.copyfileobj(file, kept, artifacts.CHUNK)
        artifacts.put(directory, url)
    enqueue(session, "import", run_id=run.id)
    return run


def newest(session: Session, project: Project, limit: int = 5) -> list[Run]:
    """The newest models that were brought, with what became of them."""
    brought = (Run.project_id == project.id) & (Run.kind == "import") & (Run.params["what"].astext == "model")
    return list(session.scalars(select(Run).where(brought).order_by(Run.id.desc()).limit(limit)))


def find(session: Session, person: User, run_id: str) -> Run:
    """A model that was brought into a project that the person operates; NotFound."""
    run = session.get(Run, int(run_id)) if run_id.isdecimal() and len(run_id) < 19 else None
    if run is None or run.kind != "import" or run.params.get("what") != "model":
        raise NotFound(_("There is no import {run_id!r} that you may see.").format(run_id=run_id))
    may(session, person, session.get_one(Project, run.project_id), "operator")
    return run


def place_of(run: Run) -> str:
    """Where the archive of a run lies until it is taken in."""
    return artifacts.url_of("brought", str(run.id))


def check(file: IO[bytes]) -> None:
    """Look at an archive without unpacking it; raises BadInput or TooLarge with a sentence that says what to do."""
    size = file.seek(0, 2)
    if size > MOST_BYTES:
        raise TooLarge
    with entries(file) as found:
        names = {posixpath.basename(one.name) for one in found}
    if not any(one.endswith(".safetensors") for one in names):
        raise BadInput(_("This archive has no .safetensors file. Save the model with safetensors and bring it again."))
    if not names & {"adapter_config.json", "config.json"}:
        raise BadInput(
            _("This archive has neither adapter_config.json (an adapter of PEFT) nor config.json (a whole model).")
        )


def unpack(file: IO[bytes], directory: Path) -> None:
    """Write the archive's safetensors and JSON files into `directory`, flat; raises as `check` does."""
    with entries(file) as found:
        for one in found:
            if not one.name.endswith(READ):
                continue
            target = directory / posixpath.basename(one.name)
            if target.exists():
                raise BadInput(
                    _("This archive has two files called {name}. Pack one model alone.").format(name=target.name)
                )
            with one.open() as source, target.open("wb") as into:
                left = one.size
                # No more than the entry said it holds, whatever comes out of its decompression.
                while left and (piece := source.read(min(artifacts.CHUNK, left))):
                    left -= len(piece)
                    into.write(piece)


@contextmanager
def entries(file: IO[bytes]) -> Iterator[list[Entry]]:
    """The plain files of a zip or tar archive, checked: nothing outside it, no pickle, no more than may be unpacked."""
    file.seek(0)
    if zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as archive:
                yield _checked(_of_zip(archive))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as problem:
            raise BadInput(
                _("This archive is damaged or encrypted. Pack it again, as a plain zip or tar.")
            ) from problem
        return
    file.seek(0)
    try:
        with tarfile.open(fileobj=file) as archive:
            yield _checked(_of_tar(archive))
    except (tarfile.TarError, EOFError, OSError, ValueError) as problem:
        raise BadInput(
            _("This is neither a zip nor a tar archive. Pack the model's directory as one of these.")
        ) from problem


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for one in archive.infolist():
        if (one.external_attr >> 16) & 0o170000 == 0o120000:
            raise BadInput(_(LINK).format(name=one.filename))
        if not one.is_dir():
            yield Entry(one.filename, one.file_size, partial(archive.open, one))


def _of_tar(archive: tarfile.TarFile) -> Iterator[Entry]:
    seen = 0
    # One at a time: a list of all members would unpack a compressed bomb to read its headers.
    for one in archive:
        seen += one.size
        if seen > MOST_BYTES:
            raise TooLarge
        if one.isdir():
            continue
        if not one.isreg():
            raise BadInput(_(LINK).format(name=one.name))
        yield Entry(one.name, one.size, partial(_opened, archive, one))


def _opened(archive: tarfile.TarFile, one: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(one)
    assert file is not None  # it is a regular file
    return file


def _checked(found: Iterator[Entry]) -> list[Entry]:
    kept: list[Entry] = []
    for one in found:
        parts = one.name.replace("\\", "/").split("/")
        if one.name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or not one.name.isprintable():
            raise BadInput(
                _("This archive has a file outside itself ({name:.100}). Pack the model's directory again.").format(
                    name=ascii(one.name)
                )
            )
        if one.name.lower().endswith(PICKLES):
            raise BadInput(
                _(
                    "{name:.100} may be a pickle, which can run code when it is opened. Only safetensors are read: "
                    "save the model with safe_serialization=True and bring it again."
                ).format(name=parts[-1])
            )
        kept.append(one)
        if len(kept) > MOST_FILES or sum(entry.size for entry in kept) > MOST_BYTES:
            raise TooLarge
    return kept


def register(session: Session, run: Run, made: dict[str, Any]) -> Checkpoint:
    """Make a candidate of what a worker took in; its gates are judged by an evaluation."""
    return checkpoints.register(session, run, {"checkpoint": made, "metrics": {}, "gate": {}})


def _plain(name: str) -> str:
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(one for one in last.encode(errors="replace").decode() if one.isprintable())[:100]
