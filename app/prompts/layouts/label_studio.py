"""Label Studio's JSON export of its pairwise template: `data` with the texts, `annotations` with who chose which."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.errors import BadInput
from app.languages import _
from app.prompts.layouts.columns import (
    FIRST,
    LABELS,
    PROMPT,
    SECOND,
    Columns,
    Row,
    cell,
    labels,
    plain,
    text_or_turns,
    usual,
)
from app.prompts.layouts.winners import preferred

PARTS = {"prompt": PROMPT, "response_a": (*FIRST, "text_1"), "response_b": (*SECOND, "text_2"), **LABELS}
"""Columns of `data`, not of the row."""


def fits(row: Row, columns: Columns) -> bool:
    """Whether a row is a task with its data and annotations."""
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list)


def read(row: Row, columns: Columns) -> Iterator[dict[str, Any]]:
    """One comparison with an answer of each annotator who chose; a task that nobody has judged waits.

    The pairwise tag knows left and right only, in the order of its `toName`; cancelled annotations are skips.
    """
    data = row.get("data")
    if not isinstance(data, dict):
        raise BadInput(_('A task of Label Studio needs "data" with its texts.'))
    columns = {**usual(PARTS, list(data)), **columns}
    found = [one for annotation in _done(row.get("annotations")) for one in _choices(annotation)]
    first, second = next((_sides(data, one) for one in found), (None, None))
    answers = [{"preferred": preferred(one["value"]["selected"])} for one in found]
    yield {
        "prompt": text_or_turns(cell(data, columns, "prompt")),
        "responses": [
            text_or_turns(cell(data, columns, "response_a") if first is None else first),
            text_or_turns(cell(data, columns, "response_b") if second is None else second),
        ],
        **({"answers": answers} if answers else {}),
        **labels(data, columns),
    }


def _done(annotations: Any) -> list[Mapping[str, Any]]:
    given = annotations if isinstance(annotations, list) else []
    return [one for one in given if isinstance(one, dict) and not one.get("was_cancelled")]


def _choices(annotation: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for result in annotation.get("result") or ():
        value = result.get("value") if isinstance(result, dict) else None
        if isinstance(value, dict) and value.get("selected") in ("left", "right"):
            yield result
            return  # one choice a person


def _sides(data: Mapping[str, Any], result: Mapping[str, Any]) -> tuple[Any, Any]:
    """The texts that the tag names as left and right, where they are named like the data."""
    names = [plain(name) for name in str(result.get("to_name", "")).split(",")]
    known = {plain(name): value for name, value in data.items()}
    return (known.get(names[0]), known.get(names[1])) if len(names) == 2 else (None, None)
