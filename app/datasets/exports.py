"""Exports: files made from a snapshot for the world outside, each by a run that may be watched and cancelled."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, contains_eager, joinedload

from app.accounts import audit
from app.accounts.access import Access, may
from app.database import open_session
from app.datasets import artifacts, snapshots, votes
from app.datasets.columns import VOTES, Beside, Rationales
from app.datasets.filters import Filters
from app.datasets.formats import features, format_of
from app.datasets.layouts import LAYOUTS, Layout
from app.errors import BadInput, Conflict, Gone, NotFound
from app.languages import _
from app.lists import Asked, Listing, itself, page_of
from app.models import FINISHED, Export, Project, Run, Snapshot, User, now
from app.queue import enqueue

Check = Callable[[], None]
"""Asked between batches; raises to stop the work."""
TOLD_EVERY = 0.5  # s; how often a page hears of the progress


def request(
    session: Session, access: Access, layout: str, format: str, filters: Filters, per: str = votes.EACH
) -> Export:
    """Begin an export; a worker writes it. Raises BadInput for a layout or format that is not known."""
    check_names(layout, format, per)
    run = Run(
        project_id=access.project.id,
        kind="export",
        params={"layout": layout, "format": format, "per": per, "filters": filters.to_json()},
        requested_by_id=access.person.id,
        message="Waits for a worker.",
    )
    session.add(run)
    session.flush()
    export = _of_run(session, run)
    audit.record(session, "export_started", project=access.project, export=export.id, wanted=run.params)
    enqueue(session, "export", run_id=run.id)
    return export


def check_names(layout: str, format: str, per: str = votes.EACH) -> None:
    """Raise BadInput where there is no such layout or format, or where the layout has no rows per comparison."""
    if layout not in LAYOUTS:
        raise BadInput(
            _("There is no layout {layout!r}. Choose one of {known}.").format(layout=layout, known=", ".join(LAYOUTS))
        )
    format_of(format)
    if per not in votes.PER:
        raise BadInput(_("Rows are per answer or per comparison, not per {per!r}.").format(per=per))
    if per == votes.COMPARISON and not LAYOUTS[layout].votes:
        raise BadInput(
            _("The layout {layout!r} has no rows per comparison. Choose another layout, or rows per answer.").format(
                layout=layout
            )
        )


def write(run_id: int, check: Check = lambda: None) -> str:
    """Write the export of a run that a worker took up, and return a sentence about it.

    `check` is asked often and raises to stop: then nothing of the file is kept. Written again after a crash, the file
    is the same unless answers came or changed in between.
    """
    with open_session() as session:
        run = session.get_one(Run, run_id)
        export, project = _of_run(session, run), session.get_one(Project, run.project_id)
        person = session.get(User, run.requested_by_id) if run.requested_by_id else None
        report = _reporter(run_id, check)
        snapshot = snapshots.take(
            session, project, Filters.from_json(export.filters), person, lambda n: report("snapshot", n, 0)
        )
        export.snapshot_id = run.snapshot_id = snapshot.id
    url = artifacts.url_of("exports", str(export.id))
    name = file_name(project, export)
    with artifacts.made_for(url) as directory:
        manifest = write_file(snapshot, export.layout, export.format, directory / name, report, export.per)
        manifest = {"export": str(export.id), **manifest}
        (directory / artifacts.MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False))
        check()
        artifacts.put(directory, url)
    with open_session() as session:
        as_now = session.get_one(Snapshot, snapshot.id, with_for_update=True).manifest
        if as_now.get("erasures") == snapshot.manifest.get("erasures"):
            facts = {key: manifest[key] for key in ("sha256", "bytes", "rows")}
            session.execute(
                update(Export).where(Export.id == export.id).values(url=f"{url}/{name}", manifest=manifest, **facts)
            )
            return f"Wrote {manifest['rows']:,} rows."
    # Somebody was erased while this was written, and it may show what they wrote.
    return write(run_id, check)


def write_file(
    snapshot: Snapshot,
    layout: str,
    format: str,
    path: Path,
    report: Callable[[str, int, int], None],
    per: str = votes.EACH,
) -> dict[str, Any]:
    """Write a snapshot's answers to a new file in a layout and format, and return the file's manifest."""
    form, left_out = LAYOUTS[layout], Counter[str]()
    # Nothing but the raw layout shows rationales, and only what is shown is opened.
    shown = snapshots.taken_rationales(snapshot) if "rationale" in form.schema.names else iter(())
    schema, make = form.schema, form.rows
    if per == votes.COMPARISON:
        counted = votes.Counted(snapshots.taken_rows(snapshot, votes.COLUMNS))
        schema, make = pa.schema([*schema, *VOTES]), votes.per_comparison(make, counted, form.gives)

    def read() -> Iterator[pa.RecordBatch]:
        done = 0
        for batch in snapshots.taken_rows(snapshot, form.columns):
            yield batch
            done += batch.num_rows
            report("write", done, snapshot.manifest["answers"])

    def about() -> dict[str, Any]:
        exclusions = snapshot.manifest["exclusions"] + not_written(form, left_out)
        return {"layout": layout, "format": format, "per": per, "exclusions": exclusions, "snapshot": snapshot.manifest}

    rows = format_of(format).write(path, schema, make(read(), Beside(Rationales(shown), left_out)), about)
    return {
        **about(),
        "file": path.name,
        "rows": rows,
        **artifacts.facts_of(path),
        "features": features(schema, format),
    }


def not_written(form: Layout, left_out: Mapping[str, int]) -> list[dict[str, Any]]:
    """Why some of a snapshot's answers have no row, as the manifest says it."""
    why_not = {**form.why_not, votes.DRAWN: votes.WHY_DRAWN}
    return [
        {"reason": reason, "answers": left_out[reason], "why": why}
        for reason, why in why_not.items()
        if left_out.get(reason)
    ]


def find(session: Session, person: User, export_id: str, project: Project | None = None) -> Export:
    """Fetch and authorise in one call: exports are for the project's admins; those of hidden projects do not exist.

    With a `project`, only its own exports are found.
    """
    known = session.get(Export, int(export_id)) if export_id.isdecimal() and len(export_id) < 19 else None
    if known is None or (project is not None and known.project_id != project.id):
        raise NotFound(_("There is no export {export_id!r} that you may see.").format(export_id=export_id))
    may(session, person, session.get_one(Project, known.project_id), "admin")
    return known


def finished(export: Export) -> str:
    """The URL of the export's file; raises Conflict with a sentence while there is none, Gone where it was removed."""
    if "erased" in export.manifest:
        raise Gone(_("This file showed what a person wrote who has been erased, so it was removed. Make it again."))
    if export.url is None or export.run.status != "succeeded":
        sentence = _("This export is {status}, so it has no file.").format(status=_(export.run.status))
        raise Conflict(f"{sentence} {export.run.error or ''}".strip())
    return export.url


def listed(
    session: Session, project: Project, asked: Asked, path: str, also: Mapping[str, str | list[str]]
) -> Listing[Export]:
    """A page of a project's exports; the search is `layout:kto`, `format:csv`, `status:failed`, and words of names."""
    words, filters = asked.parsed("layout", "format", "status")
    query = select(Export).join(Export.run).where(Export.project_id == project.id)
    query = query.options(contains_eager(Export.run))
    for name, column in (("layout", Export.layout), ("format", Export.format), ("status", Run.status)):
        if filters[name]:
            query = query.where(column.in_(filters[name]))
    for word in words:
        query = query.where(Export.manifest["file"].as_string().icontains(word, autoescape=True))
    # What is not finished has neither rows nor bytes, and stands where nothing would.
    sizes = {"rows": func.coalesce(Export.rows, 0), "bytes": func.coalesce(Export.bytes, 0)}
    columns = {"made": Export.id, **sizes}
    return page_of(session, query, Export.id, columns, asked, path, "-made", make=itself, also=also)


def newest(session: Session, project: Project, before: int | None = None, limit: int = 30) -> list[Export]:
    """A project's exports, newest first, older than the export `before`."""
    query = select(Export).options(joinedload(Export.run)).where(Export.project_id == project.id)
    if before is not None:
        query = query.where(Export.id < before)
    return list(session.scalars(query.order_by(Export.id.desc()).limit(limit)))


def cancel(session: Session, export: Export) -> None:
    """Ask the worker to stop, or end the run at once where none began; a finished one stays as it is."""
    run = session.get_one(Run, export.run_id, with_for_update=True, populate_existing=True)
    if run.status in FINISHED:
        return
    audit.record(session, "export_cancelled", project=export.project_id, export=export.id)
    run.cancel_requested_at = run.cancel_requested_at or now()
    run.message = "Is being cancelled."
    if run.status == "queued":
        run.status, run.message, run.finished_at = "cancelled", "Cancelled.", now()


def as_json(export: Export) -> dict[str, Any]:
    """The export as programs read it."""
    run = export.run
    done = run.status == "succeeded" and export.url is not None
    return {
        "id": str(export.id),
        "status": run.status,
        "layout": export.layout,
        "format": export.format,
        "per": export.per,
        "filters": export.filters,
        "run": str(run.id),
        "snapshot": export.manifest.get("snapshot", {}).get("sha256"),
        "progress": {"phase": run.phase, "done": run.done, "total": run.total},
        "message": run.message,
        "error": run.error,
        "rows": export.rows,
        "bytes": export.bytes,
        "sha256": export.sha256,
        "file": f"/api/v1/exports/{export.id}/file" if done else None,
        "manifest": f"/api/v1/exports/{export.id}/manifest" if done else None,
        "created": export.created_at.isoformat(),
        "finished": run.finished_at.isoformat() if run.finished_at else None,
    }


def file_name(project: Project, export: Export) -> str:
    """A name of letters, digits, dots and dashes alone: project, layout, number."""
    return f"{project.slug}-{export.layout}-{export.id}.{format_of(export.format).suffix}"


def _of_run(session: Session, run: Run) -> Export:
    """The run's export; made from its parameters where the run is new or repeats another one."""
    known = session.scalar(select(Export).where(Export.run_id == run.id))
    if known is None:
        known = Export(project_id=run.project_id, run_id=run.id, **run.params)
        session.add(known)
        session.flush()
    return known


def _reporter(run_id: int, check: Check) -> Callable[[str, int, int], None]:
    """Keeps the run's progress, a few times a second, and asks whether to go on."""
    told = 0.0

    def report(phase: str, done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told < TOLD_EVERY:
            return
        told = time.monotonic()
        check()
        message = f"Collected {done:,} answers." if phase == "snapshot" else f"Wrote {done:,} of {total:,} answers."
        with open_session() as session:
            changed = {"phase": phase, "done": done, "total": total, "message": message}
            session.execute(update(Run).where(Run.id == run_id).values(**changed))

    return report
