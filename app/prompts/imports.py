"""Imports: a file or a paste brought in by a run that may be watched, cancelled, and withdrawn again."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.accounts.access import Access, may
from app.database import open_session
from app.errors import BadInput, NotFound
from app.languages import _
from app.models import Project, Run, Upload, User, WrongLine
from app.prompts import ahead, comparisons, layouts, previews, prompts, uploads
from app.prompts.ahead import Batch
from app.prompts.bodies import Entry
from app.prompts.copying import copy
from app.prompts.formats import Source
from app.prompts.previews import Preview
from app.prompts.prompts import Added
from app.queue import enqueue
from app.runs import runs

Check = Callable[[], None]
"""Asked between batches; raises to stop the work."""
TOLD = 50
"""Wrong lines that the page lists."""
MOST_KEPT = 100_000
"""Wrong lines of one import that are kept; the others are only counted."""
LONGEST_KEPT = 10_000
"""Characters of a wrong line that are kept."""
ASKED_EVERY = 0.3  # s; how often the work asks whether to go on
STEPS = 1000
"""What a run under way counts as its total: thousandths of the file."""


class Kind(NamedTuple):
    """What rows become: how they are looked at, a part at a time, and how what was looked at is stored."""

    looked_at: Callable[[Iterable[Entry], str], Iterator[Any]]
    store: Callable[..., Added]


KINDS = {
    "prompts": Kind(prompts.looked_at, prompts.store),
    "comparisons": Kind(comparisons.looked_at, comparisons.store),
}


class Taken(NamedTuple):
    """How far a run came: rows of the file that were read, and what became of them."""

    rows: int = 0
    added: int = 0
    duplicates: int = 0
    refused: int = 0

    def plus(self, rows: int, result: Added) -> "Taken":
        return Taken(
            self.rows + rows,
            self.added + result.added,
            self.duplicates + result.duplicates,
            self.refused + result.refused,
        )


def request(
    session: Session,
    access: Access,
    upload: Upload,
    format: str = "",
    layout: str = "",
    mapping: Mapping[str, str] | None = None,
) -> Run:
    """Begin to bring a file in; a worker does. What is not said is recognised now, and so is what cannot work.

    Raises BadInput with a sentence where none of the first rows can be used.
    """
    if access.project.archived_at is not None:
        raise BadInput(_("This project is archived. Bring it back in its settings before you bring anything in."))
    with uploads.opened(upload) as file:
        found = previews.look(session, access.project, file, format, layout, mapping or {})
    _refuse_nothing(found)
    run = Run(
        project_id=access.project.id,
        kind="import",
        params=_params(upload, found),
        requested_by_id=access.person.id,
        message="Waits for a worker.",
        result=Taken()._asdict(),
    )
    session.add(run)
    session.flush()
    enqueue(session, "import", run_id=run.id)
    return run


def _refuse_nothing(found: Preview) -> None:
    """Raise BadInput where not one of the rows that were looked at can be used: then the layout is another."""
    if not found.counts["good"]:
        said = _("None of the first {n} rows can be used. {why} Choose another layout, or other columns.")
        raise BadInput(said.format(n=found.counts["rows"], why=found.shown[0].why if found.shown else ""))


def _params(upload: Upload, found: Preview) -> dict[str, Any]:
    return {
        "upload": upload.id,
        "file": upload.name,
        "what": found.form.what,
        "format": found.format,
        "layout": found.layout,
        "mapping": found.mapping,
        "header": found.header,
    }


def bring_in(run_id: int, check: Check = lambda: None) -> str:
    """Bring in the file of a run that a worker took up, and return a sentence about it.

    Each batch is one transaction with the count of rows read, so that a run taken up after a crash goes on behind the
    last whole batch: nothing is lost, nothing comes twice. `check` is asked often and raises to stop; what was in by
    then stays.
    """
    with open_session() as session:
        run = session.get_one(Run, run_id)
        project = session.get_one(Project, run.project_id)
        upload = uploads.find(session, project, int(run.params["upload"]))
    ask = _seldom(check)
    with uploads.opened(upload) as file:
        source = Source(file, run.params["format"])
        source.check_whole(ask)
        taken = Taken(**{name: run.result.get(name, 0) for name in Taken._fields})
        rows = source.entries()
        for _row in islice(rows, taken.rows):
            ask()
        # Closed while the file is open, because a batch may be under way where this one fails.
        with closing(ahead.batches(source, rows, lambda some: _looked_at(some, upload, run.params))) as batches:
            for batch in batches:
                ask()
                taken = _bring_some(run_id, project, upload, batch, taken)
    with open_session() as session:
        run = session.get_one(Run, run_id)
        run.done, run.total = taken.added, taken.added + taken.duplicates + taken.refused
    return f"Added {taken.added:,} {run.params['what']}."


def _looked_at(some: Iterator[Entry], upload: Upload, params: Mapping[str, Any]) -> Iterator[Any]:
    layout, mapping = layouts.find(params["layout"]), params["mapping"]
    items = (one for entry in some for one in layouts.applied(layout, mapping, entry))
    return KINDS[layout.what].looked_at(items, _source(upload))


def _source(upload: Upload) -> str:
    return upload.name or "pasted"


def _bring_some(run_id: int, project: Project, upload: Upload, batch: Batch, taken: Taken) -> Taken:
    with open_session() as session:
        # A crash may take the last few batches whole, and the next try brings them; what ends the import waits for
        # the disk, and so for all of them.
        session.execute(text("set local synchronous_commit = off"))
        run = session.get_one(Run, run_id, with_for_update=True)
        what = layouts.find(run.params["layout"]).what
        store = KINDS[what].store
        # Whom the audit log names, though a worker does it.
        session.info["person"] = session.get(User, run.requested_by_id) if run.requested_by_id else None
        result = store(session, project, batch.parts, _source(upload), run_id=run_id, most_told=ahead.BATCH)
        _keep_wrong(session, run, result, MOST_KEPT - taken.refused)
        taken = taken.plus(batch.rows, result)
        run.result = {**run.result, **taken._asdict()}
        run.phase, run.done, run.total = "import", round(STEPS * batch.share), STEPS
        run.message = f"Added {taken.added:,} {what} so far."
    return taken


def _keep_wrong(session: Session, run: Run, result: Added, room: int) -> None:
    if not result.rejected or room <= 0:
        return
    wrong = ((run.id, one.line, one.why, _kept(one.raw, run)) for one in result.rejected)
    copy(session, "wrong_lines", ("run_id", "line", "why", "raw"), islice(wrong, room))


def _kept(raw: bytes, run: Run) -> str:
    plain = raw.decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")[:LONGEST_KEPT]
    # An item of a list may be spread over lines; on one, all of them together are JSON Lines.
    return " ".join(plain.splitlines()) if run.params["format"] == "json" else plain


def _seldom(check: Check) -> Check:
    """The same question, asked no more often than it is worth."""
    last = 0.0

    def ask() -> None:
        nonlocal last
        if time.monotonic() - last > ASKED_EVERY:
            last = time.monotonic()
            check()

    return ask


def find(session: Session, person: User, run_id: int, project: Project | None = None) -> Run:
    """Fetch and authorise in one call: imports are for the project's admins. With a `project`, only its own."""
    run = session.get(Run, run_id)
    if run is None or run.kind != "import" or (project is not None and run.project_id != project.id):
        raise NotFound(_("There is no import {run_id} that you may see.").format(run_id=run_id))
    may(session, person, session.get_one(Project, run.project_id), "admin")
    return run


def newest(session: Session, project: Project, before: int | None = None, limit: int = 20) -> list[Run]:
    """A project's imports, newest first, older than the run `before`."""
    query = select(Run).where(Run.project_id == project.id, Run.kind == "import")
    if before is not None:
        query = query.where(Run.id < before)
    return list(session.scalars(query.order_by(Run.id.desc()).limit(limit)))


def cancel(session: Session, run: Run) -> Run:
    """Ask the worker to stop, or end the run at once where none is on it; what is in by then stays."""
    return runs.cancel(session, run)


def forget_file(run_id: int) -> None:
    """Delete the file of an import that succeeded; what another try could need stays for a day."""
    with open_session() as session:
        upload = session.get(Upload, int(session.get_one(Run, run_id).params["upload"]))
        if upload is not None:
            uploads.forget(session, upload)


def wrong_lines(session: Session, run: Run, limit: int | None = None) -> list[WrongLine]:
    """The lines that were refused, in the order of the file."""
    query = select(WrongLine).where(WrongLine.run_id == run.id).order_by(WrongLine.id)
    return list(session.scalars(query.limit(limit)))


def wrong_lines_file(session: Session, run: Run) -> str:
    """The refused lines as they were sent, one below the other, to be mended and brought again; those of a table
    below its line of names."""
    query = select(WrongLine.raw).where(WrongLine.run_id == run.id).order_by(WrongLine.id)
    lines = session.scalars(query).all()
    head = run.params.get("header")
    return "".join(f"{line}\n" for line in ([head] if head else []) + list(lines))


def as_json(session: Session, run: Run) -> dict[str, Any]:
    """The import as programs read it; `rejected` has the first thousand of `rejected_total`."""
    taken = {name: run.result.get(name, 0) for name in ("rows", "added", "duplicates")}
    return {
        "id": str(run.id),
        "status": run.status,
        **{name: run.params.get(name) for name in ("file", "what", "format", "layout", "mapping")},
        "progress": {"phase": run.phase, "done": run.done, "total": run.total},
        "message": run.message,
        "error": run.error,
        **taken,
        "rejected": [one.to_json() for one in wrong_lines(session, run, prompts.MOST_TOLD)],
        "rejected_total": run.result.get("refused", 0),
        "wrong_lines": f"/api/v1/imports/{run.id}/wrong-lines",
        "withdrawn": run.result.get("withdrawn"),
        "created": run.created_at.isoformat(),
        "finished": run.finished_at.isoformat() if run.finished_at else None,
    }
