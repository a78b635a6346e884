"""What a file would become, before anything is stored: its layout, its columns, its first rows as they will be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import BadInput
from app.labeling.comparisons import prompt_hash
from app.models import Project, Prompt
from app.prompts import comparisons, layouts, prompts
from app.prompts.bodies import Entry
from app.prompts.comparisons import Brought
from app.prompts.formats import Source
from app.prompts.layouts import Layout
from app.prompts.tables import as_line

LOOKED_AT = 200
"""Rows that are read to recognise a layout and to estimate what will come of the file."""
ENOUGH = 4_000_000
"""Bytes after which no further row is looked at."""
SHOWN = 8


@dataclass(frozen=True)
class Shown:
    """A row as it will be stored (`messages`, and what is compared), or `why` it will not be."""

    line: int
    why: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, Any] = field(default_factory=dict)
    comparison: Brought | None = None

    def to_json(self) -> dict[str, Any]:
        if self.why:
            return {"line": self.line, "why": self.why}
        told = {"line": self.line, "messages": self.messages, **self.labels}
        if self.comparison is None:
            return told
        said = [{"verdict": one.verdict, "preferred": one.preferred} for one in self.comparison.said]
        return {**told, "responses": [self.comparison.a, self.comparison.b], "answers": said}


@dataclass(frozen=True)
class Preview:
    """`counts`: of the rows that were looked at, how many are good, known already and wrong; `rows`: about how many
    rows the whole file has (None: nobody can tell)."""

    format: str
    compression: str
    layout: str
    mapping: dict[str, str]
    columns: list[str]
    counts: dict[str, int]
    rows: int | None
    exact: bool
    shown: list[Shown]
    header: str
    """The line of names of a table in CSV, "" elsewhere."""

    @property
    def form(self) -> Layout:
        return layouts.LAYOUTS[self.layout]

    @property
    def unused(self) -> list[str]:
        """The columns that nothing is read from."""
        used = set(self.mapping.values())
        return [name for name in self.columns if name not in used]

    def to_json(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "compression": self.compression or None,
            "layout": self.layout,
            "what": self.form.what,
            "mapping": self.mapping,
            "columns": self.columns,
            "rows": self.rows,
            "looked_at": self.counts,
            "first": [one.to_json() for one in self.shown],
        }


def look(
    session: Session, project: Project, file: IO[bytes], format: str, layout: str, chosen: Mapping[str, str]
) -> Preview:
    """Read the first rows; `layout` "" and parts that `chosen` does not name are recognised. Raises BadInput."""
    source = Source(file, format)
    entries, whole = _first(source)
    rows = [row for entry in entries if not entry.why and (row := layouts.row_of(entry.value)) is not None]
    name = layout or layouts.recognised(rows)
    form = layouts.find(name)
    columns = layouts.names_in(rows, form)
    mapping = layouts.mapped(form, columns, chosen)
    becomes = [one for entry in entries for one in layouts.applied(form, mapping, entry)]
    seen = [_shown(one, form.what) for one in becomes]
    good = [one for one in seen if not one.why]
    counts = {"rows": len(entries), "good": len(good), "wrong": len(seen) - len(good)}
    counts["known"] = _known(session, project, good, form.what)
    exact = whole or source.total is not None
    total = len(entries) if whole else source.total if source.total is not None else _estimate(source, entries)
    return Preview(
        format=source.format,
        compression=source.compression,
        layout=name,
        mapping=mapping,
        columns=columns,
        counts=counts,
        rows=total,
        exact=exact,
        shown=seen[:SHOWN] + [one for one in seen[SHOWN:] if one.why][:SHOWN],
        header=source.header().decode(errors="replace").replace("\x00", ""),
    )


def _first(source: Source) -> tuple[list[Entry], bool]:
    """The first rows, and whether there are no more."""
    found: list[Entry] = []
    size = 0
    rest = source.entries()
    for entry in islice(rest, LOOKED_AT):
        found.append(entry)
        size += len(entry.raw or as_line(entry.value))
        if size > ENOUGH:
            break
    return found, next(rest, None) is None


def _estimate(source: Source, entries: list[Entry]) -> int | None:
    """How many rows the rest has if it is like the first ones."""
    size = sum(len(entry.raw) + 1 for entry in entries)
    if source.compression or not size:
        return None
    return max(len(entries), round(source.size / size * len(entries)))


def _shown(entry: Entry, what: str) -> Shown:
    try:
        if what == "comparisons":
            found = comparisons.checked(entry, "")
            return Shown(entry.line, "", found.messages, found.labels, found)
        row = prompts.checked(entry, "")
    except BadInput as problem:
        return Shown(entry.line, problem.message)
    labels = {name: row[name] for name in ("tags", "source", "priority", "needs")}
    return Shown(entry.line, "", row["messages"], labels)


def _known(session: Session, project: Project, good: list[Shown], what: str) -> int:
    """How many of these the project has already, or stand twice among them."""
    if what == "comparisons":
        keys = [one.comparison.key for one in good if one.comparison]
        known = comparisons.known_keys(session, project, {hash for hash, _texts in keys})
        return len(keys) - len(set(keys) - known)
    hashes = [prompt_hash(one.messages) for one in good]
    query = select(func.count()).where(Prompt.project_id == project.id, Prompt.hash.in_(hashes), Prompt.sampled)
    in_use = session.scalar(query.where(Prompt.withdrawn_at.is_(None))) or 0
    return len(hashes) - len(set(hashes)) + in_use
