"""The layouts that preference data comes in: recognised by their rows, each turned into what is stored"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from app.errors import BadInput
from app.languages import N_, _
from app.prompts.bodies import Entry
from app.prompts.layouts import (
    arena,
    argilla,
    label_studio,
    plain_prompts,
    preference,
    scored,
    transcripts,
    two_responses,
)
from app.prompts.layouts.columns import Columns, Row, usual


class Layout(NamedTuple):
    """`parts`: what a mapping may name, each with the usual names of its column; `needed`: without these, nothing."""

    title: str
    what: str
    parts: Mapping[str, Sequence[str]]
    fits: Callable[[Row, Columns], bool]
    read: Callable[[Row, Columns], Iterator[dict[str, Any]]]
    inside: str = ""
    """The object within a row that has the columns, where it is not the row itself."""
    sister: str = ""
    """Another layout, whose rows may stand among those of this one."""


def _layout(title: str, what: str, module: ModuleType, inside: str = "", sister: str = "") -> Layout:
    return Layout(title, what, module.PARTS, module.fits, module.read, inside, sister)


LAYOUTS = {
    "label_studio": _layout(N_("Label Studio, pairwise"), "comparisons", label_studio, "data"),
    "argilla": _layout(N_("Argilla records"), "comparisons", argilla, "fields"),
    "arena": _layout(N_("Chatbot Arena"), "comparisons", arena),
    "hh": _layout(N_("HH-RLHF transcripts"), "comparisons", transcripts),
    "preference": _layout(N_("Chosen and rejected (TRL)"), "comparisons", preference, sister="pairs"),
    "scored": _layout(N_("Scored completions (UltraFeedback)"), "comparisons", scored),
    "pairs": _layout(N_("Two responses, with or without a winner"), "comparisons", two_responses, sister="preference"),
    "prompts": _layout(N_("Prompts alone"), "prompts", plain_prompts),
}
"""In the order in which they are tried."""


def find(name: str) -> Layout:
    """The layout of this name; raises BadInput with a sentence."""
    if name not in LAYOUTS:
        raise BadInput(
            _("There is no layout {layout!r}. Choose one of {known}.").format(layout=name, known=", ".join(LAYOUTS))
        )
    return LAYOUTS[name]


def row_of(value: Any) -> Row | None:
    """A row as layouts read it: a text alone is a prompt; None for what is no row."""
    if isinstance(value, str):
        return {"prompt": value}
    return value if isinstance(value, dict) else None


def recognised(rows: Sequence[Row]) -> str:
    """The name of the first layout that half of these rows or more are in; `prompts` where none is."""
    for name, layout in LAYOUTS.items():
        columns = usual(layout.parts, names_in(rows, layout))
        if rows and 2 * sum(layout.fits(row, columns) for row in rows) >= len(rows):
            return name
    return "prompts"


def names_in(rows: Sequence[Row], layout: Layout) -> list[str]:
    """The columns that these rows have, in the order of their first appearance."""
    names: dict[str, None] = {}
    for row in rows:
        inside = row.get(layout.inside)
        names.update(dict.fromkeys(str(name) for name in (inside if isinstance(inside, dict) else row)))
    return list(names)


def mapped(layout: Layout, names: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Which column is which part: by its name, unless somebody chose another, or none (""); unknown parts: BadInput."""
    unknown = [part for part in chosen if part not in layout.parts]
    if unknown:
        raise BadInput(
            _("This layout has no part {part!r}. Choose among {known}.").format(
                part=unknown[0], known=", ".join(layout.parts)
            )
        )
    taken = set(chosen.values())
    by_name = usual(layout.parts, [name for name in names if name not in taken])
    return {part: column for part, column in {**by_name, **chosen}.items() if column}


def applied(layout: Layout, columns: Columns, entry: Entry) -> list[Entry]:
    """What becomes of a row: the prompts or comparisons in it, all with its line; or why there is none."""
    row = row_of(entry.value)
    if entry.why or row is None:
        return [entry]
    try:
        if layout.sister and not layout.fits(row, columns):
            layout, columns = _sister(layout, columns, row)
        return [Entry(entry.line, value, entry.raw, row=row) for value in layout.read(row, columns)]
    except BadInput as problem:
        return [Entry(entry.line, None, entry.raw, problem.message, row=row)]


def _sister(layout: Layout, columns: Columns, row: Row) -> tuple[Layout, Columns]:
    """The sister layout where this row is in it."""
    other = LAYOUTS[layout.sister]
    by_name = usual(other.parts, list(row))
    return (other, by_name) if other.fits(row, by_name) else (layout, columns)
