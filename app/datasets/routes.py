"""The door of datasets: the exports page, a snapshot's page, and the JSON API of exports."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts import audit
from app.accounts.access import AdminOf, Person, page_context
from app.database import Transaction
from app.datasets import changes, downloads, exports, lineage, previews, rules, snapshots
from app.datasets.filters import SOURCES, Filters
from app.datasets.formats import FORMATS, format_of, names
from app.datasets.layouts import LAYOUTS
from app.datasets.votes import PER
from app.errors import BadInput
from app.lists import Asked
from app.models import FINISHED, PURPOSES, Export
from app.templating import page

pages = APIRouter(prefix="/projects/{slug}")
api = APIRouter(prefix="/api/v1", tags=["datasets"])

PAGE = 30


class Choice(BaseModel):
    """The form of the exports page; nothing ticked and nothing written means everything."""

    layout: str = "preference"
    format: str = "jsonl"
    compression: str = ""
    per: str = "answer"
    simulated: bool = False
    since: str = ""
    until: str = ""
    purposes: list[str] = []
    sources: list[str] = []
    annotators: list[str] = []
    checkpoints: list[str] = []
    tags: str = ""
    agreement: str = ""
    strength: str = ""

    def in_address(self) -> dict[str, str | list[str]]:
        """What differs from an empty form, as parts of the page's address."""
        chosen = self.model_dump(include=set(Choice.model_fields), exclude_defaults=True)
        return {name: "true" if value is True else value for name, value in chosen.items()}

    def filters(self) -> Filters:
        """Raises BadInput with a sentence."""
        chosen = self.model_dump(include={"simulated", "since", "until", "strength"})
        lists = {name: getattr(self, name) or None for name in ("purposes", "sources", "annotators", "checkpoints")}
        tags = [tag.strip() for tag in self.tags.split(",") if tag.strip()]
        agreement = self.agreement and _percent(self.agreement)
        return Filters.from_json({**chosen, **lists, "tags": tags or None, "agreement": agreement})

    def file(self) -> str:
        """The format with its compression; those that compress by themselves have none to choose."""
        can = self.format in FORMATS and self.compression in FORMATS[self.format].compressions
        return f"{self.format}.{self.compression}" if can and self.compression else self.format


def _percent(text: str) -> float | str:
    try:
        return float(text) / 100
    except ValueError:
        return text


class Look(Choice, Asked):
    """The same form as part of the page's address, with what the list below it was asked for."""


@pages.get("/exports")
def exports_page(request: Request, access: AdminOf, session: Transaction, look: Annotated[Look, Query()]) -> Response:
    """Three steps on one page: what, real rows of it, go; below, the earlier exports with their progress."""
    problem, shown = "", None
    try:
        exports.check_names(look.layout, look.file(), look.per)
        shown = previews.preview(session, access.project, look.layout, look.filters(), look.per)
    except BadInput as refused:
        problem = refused.message
    values = {**page_context(access, "exports"), "look": look, "problem": problem, "preview": shown}
    if request.headers.get("hx-target") == "export-preview":
        # htmx asks for this part alone whenever the form changes.
        return page(request, "datasets/_preview.html", values)
    values |= {
        "layouts": LAYOUTS,
        "formats": FORMATS,
        "purposes": PURPOSES,
        "sources": SOURCES,
        "annotators": sorted(rules.people_of(session, access.project)),
        "checkpoints": lineage.writers_of(session, access.project),
        "listing": exports.listed(session, access.project, look, request.url.path, look.in_address()),
        "finished": FINISHED,
    }
    return page(request, "datasets/exports.html", values)


@pages.post("/exports")
def make_export(access: AdminOf, session: Transaction, choice: Annotated[Choice, Form()]) -> Response:
    """Begin an export and go back to the page, where its progress is and the form as it was."""
    export = exports.request(session, access, choice.layout, choice.file(), choice.filters(), choice.per)
    said = urlencode(choice.in_address(), doseq=True)
    here = f"/projects/{access.project.slug}/exports{'?' + said if said else ''}"
    return RedirectResponse(f"{here}#export-{export.id}", 303)


@pages.get("/exports/{export_id}")
def export_progress(request: Request, access: AdminOf, session: Transaction, export_id: str) -> Response:
    """One line of the list; asks for itself again until the export has ended."""
    export = exports.find(session, access.person, export_id, access.project)
    return page(
        request, "datasets/_export.html", {**page_context(access, "exports"), "export": export, "finished": FINISHED}
    )


@pages.post("/exports/{export_id}/cancel")
def cancel_export(access: AdminOf, session: Transaction, export_id: str) -> Response:
    """Stop an export that is not finished."""
    export = exports.find(session, access.person, export_id, access.project)
    exports.cancel(session, export)
    return RedirectResponse(f"/projects/{access.project.slug}/exports#export-{export.id}", 303)


@pages.get("/snapshots")
def snapshots_page(
    request: Request, access: AdminOf, session: Transaction, asked: Annotated[Asked, Query()]
) -> Response:
    """Every snapshot, each beside the one before it; two of them can be picked and compared."""
    listing = snapshots.listed(session, access.project, asked, request.url.path)
    return page(request, "datasets/snapshots.html", {**page_context(access, "exports"), "listing": listing})


@pages.get("/snapshots/changes")
def changes_page(request: Request, access: AdminOf, session: Transaction, old: str = "", new: str = "") -> Response:
    """Two snapshots side by side."""
    sides = [snapshots.find(session, access.project, sha256) for sha256 in (old, new)]
    before, after = sorted(sides, key=lambda one: one.id)
    values = {
        **page_context(access, "exports"),
        "before": before,
        "after": after,
        "changes": changes.between(session, before, after),
    }
    return page(request, "datasets/changes.html", values)


@pages.get("/snapshots/{sha256}")
def snapshot_page(request: Request, access: AdminOf, session: Transaction, sha256: str) -> Response:
    """What a snapshot holds, what it left out and why, the hashes of its files, and who read it."""
    snapshot = snapshots.find(session, access.project, sha256)
    values = {
        **page_context(access, "exports"),
        "snapshot": snapshot,
        "card": snapshot.manifest,
        "exports": lineage.exports_of(session, snapshot),
        "runs": lineage.runs_of(session, snapshot),
        "checkpoints": lineage.checkpoints_of(session, snapshot),
    }
    return page(request, "datasets/snapshot.html", values)


class ExportRequest(BaseModel):
    """What a row is, what the file is, and which answers.

    `per` is `answer`, or `comparison`: then a row says what most of its answers say, with `votes` and their `share`.
    `filters`: `simulated` (false), `since` and `until` (times), `purposes`, `sources`, `annotators` (pseudonyms),
    `tags` of the prompt, `checkpoints` that wrote both responses (ids, `base`, `outside`), `agreement` (0 to 1) of a
    comparison's answers, and `strength` (1 to 3): at least so much.
    """

    model_config = ConfigDict(extra="forbid")

    layout: str = Field("preference", examples=list(LAYOUTS))
    format: str = Field("jsonl", examples=names())
    per: str = Field("answer", examples=list(PER))
    filters: dict[str, Any] = Field(default_factory=dict, examples=[{"simulated": False, "purposes": ["train"]}])


@api.post("/projects/{slug}/exports", status_code=202)
def start_export(access: AdminOf, session: Transaction, body: ExportRequest) -> dict[str, Any]:
    """Begin an export; read it again until its status is `succeeded`, then fetch its file."""
    filters = Filters.from_json(body.filters)
    return exports.as_json(exports.request(session, access, body.layout, body.format, filters, body.per))


@api.get("/projects/{slug}/exports")
def list_exports(
    access: AdminOf,
    session: Transaction,
    cursor: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> dict[str, Any]:
    """The project's exports, newest first."""
    found = exports.newest(session, access.project, cursor, limit + 1)
    more = str(found[limit - 1].id) if len(found) > limit else None
    return {"items": [exports.as_json(export) for export in found[:limit]], "next": more}


@api.get("/exports/{export_id}")
def read_export(person: Person, session: Transaction, export_id: str) -> dict[str, Any]:
    """Status, progress and, once it succeeded, size, hash and addresses of the file and its manifest."""
    return exports.as_json(exports.find(session, person, export_id))


@api.get("/exports/{export_id}/file", response_class=Response)
@api.head("/exports/{export_id}/file", response_class=Response, include_in_schema=False)
def export_file(request: Request, person: Person, session: Transaction, export_id: str) -> Response:
    """The bare data; resumable (Range), its entity tag is the file's SHA-256."""
    export = exports.find(session, person, export_id)
    stored = _stored(export)
    if request.method == "GET" and "range" not in request.headers:
        audit.record(session, "downloaded", project=export.project_id, export=export.id)
    return downloads.send(request, stored)


def _stored(export: Export) -> downloads.StoredFile:
    url = exports.finished(export)
    kind = format_of(export.format).media_type
    return downloads.StoredFile(url, export.manifest["file"], kind, export.manifest["sha256"], export.manifest["bytes"])


@api.get("/exports/{export_id}/manifest")
def export_manifest(person: Person, session: Transaction, export_id: str) -> dict[str, Any]:
    """What the file holds, what was left out and why, its hash, and the snapshot it was made from."""
    export = exports.find(session, person, export_id)
    exports.finished(export)
    return export.manifest


@api.get("/projects/{slug}/snapshots")
def list_snapshots(
    access: AdminOf,
    session: Transaction,
    cursor: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = PAGE,
) -> dict[str, Any]:
    """The project's snapshots, newest first, each with its manifest."""
    found = snapshots.newest(session, access.project, cursor, limit + 1)
    more = str(found[limit - 1].id) if len(found) > limit else None
    return {"items": [snapshots.as_json(snapshot) for snapshot in found[:limit]], "next": more}


@api.get("/projects/{slug}/snapshots/{sha256}/changes")
def read_changes(access: AdminOf, session: Transaction, sha256: str, since: str) -> dict[str, Any]:
    """What became of the answers since another snapshot: added, removed, revised, and counts of both, old one first."""
    new, old = (snapshots.find(session, access.project, one) for one in (sha256, since))
    return changes.between(session, old, new)
