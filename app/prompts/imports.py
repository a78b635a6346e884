"""Imports by hand, kept as runs: what came of a paste or a file, and the wrong lines to mend."""

from collections.abc import Callable, Iterable
from typing import IO, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.errors import BadInput, NotFound
from app.languages import _
from app.models import Project, Run, now
from app.prompts import bodies, comparisons, prompts
from app.prompts.bodies import Entry
from app.prompts.prompts import Added

WHAT: dict[str, Callable[[Session, Project, Iterable[Entry], str], Added]] = {
    "prompts": prompts.add,
    "comparisons": comparisons.add,
}
LONGEST_NAME = 100
LONGEST_KEPT = 10_000
"""Characters of a wrong line that are kept."""


def bring(session: Session, access: Access, what: str, file: IO[bytes], name: str, kind: str) -> Run:
    """Take in what a person pasted or chose, and keep what came of it; `name` is the file's, "" for a paste."""
    if what not in WHAT:
        raise BadInput(_("Bring in prompts or comparisons, not {what!r}.").format(what=what))
    began = now()
    source = plain_name(name) or "pasted"
    entries = bodies.recognised(file, kind) if what == "prompts" else bodies.entries(file)
    result = WHAT[what](session, access.project, entries, source)
    run = Run(
        project_id=access.project.id,
        kind="import",
        status="succeeded",
        params={"what": what, "file": plain_name(name)},
        requested_by_id=access.person.id,
        done=result.added,
        total=result.added + result.duplicates + result.refused,
        message=f"Added {result.added:,} {what}.",
        result={**result.to_json(), "wrong": [_kept(one.raw) for one in result.rejected]},
        started_at=began,
        finished_at=now(),
    )
    session.add(run)
    session.flush()
    return run


def find(session: Session, project: Project, run_id: int) -> Run:
    """A project's import; NotFound where there is none of this number."""
    run = session.scalar(select(Run).where(Run.id == run_id, Run.project_id == project.id, Run.kind == "import"))
    if run is None:
        raise NotFound(_("There is no such import in this project."))
    return run


def wrong_lines(run: Run) -> str:
    """The lines that were refused, one below the other, to be mended and brought again."""
    lines: list[Any] = run.result["wrong"]
    return "".join(f"{line}\n" for line in lines)


def plain_name(name: str) -> str:
    """A file's name as text that can be stored and shown: its last part, without control characters, not too long."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    plain = "".join(one for one in last.encode(errors="replace").decode() if one.isprintable())
    return plain.strip()[:LONGEST_NAME]


def _kept(raw: bytes) -> str:
    return raw.decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")[:LONGEST_KEPT]
