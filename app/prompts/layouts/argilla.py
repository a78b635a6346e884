"""Argilla's exports: `fields`, and `responses` to a ranking, a choice of the better one, or a rating of each.

Read are what `records.to_json` and `to_list` of version 2 write, flat (`preference.responses`) and nested, and the
records of version 1 (`responses: [{"values": {…}}]`). Suggestions of models are left out.
"""

import re
from collections import defaultdict
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
from app.prompts.layouts.winners import WORDS

PARTS = {"prompt": PROMPT, "response_a": FIRST, "response_b": SECOND, **LABELS}
"""Columns of `fields`, or of the row where it is flat."""
FLAT = ".responses"


def fits(row: Row, columns: Columns) -> bool:
    """Whether a row is a record with its fields and responses, nested or flat."""
    nested = isinstance(row.get("fields"), dict) and isinstance(row.get("responses"), dict | list)
    return nested or any(name.endswith(FLAT) for name in row)


def read(row: Row, columns: Columns) -> Iterator[dict[str, Any]]:
    """One comparison with an answer of each person who decided between its first two responses."""
    fields = row["fields"] if isinstance(row.get("fields"), dict) else row
    columns = {**usual(PARTS, list(fields)), **columns}
    names = [columns.get("response_a", ""), columns.get("response_b", "")]
    if not all(names):
        raise BadInput(_("This record has no two responses. Say which fields have them."))
    people = _by_person(row)
    answers = [{"preferred": one} for one in (_preferred(said, names) for said in people) if one is not None]
    yield {
        "prompt": text_or_turns(cell(fields, columns, "prompt")),
        "responses": [text_or_turns(cell(fields, columns, part)) for part in ("response_a", "response_b")],
        **({"answers": answers} if answers else {}),
        **labels(fields, columns),
    }


def _by_person(row: Row) -> list[dict[str, Any]]:
    """What each person said, by question."""
    given = row.get("responses")
    if isinstance(given, list):
        # Version 1: one response per person, with a value per question.
        kept = [one for one in given if isinstance(one, dict) and one.get("status", "submitted") == "submitted"]
        values = [one.get("values") for one in kept]
        return [{name: _value(value) for name, value in one.items()} for one in values if isinstance(one, dict)]
    people: dict[Any, dict[str, Any]] = defaultdict(dict)
    if isinstance(given, dict):
        for question, responses in given.items():
            for place, one in enumerate(responses if isinstance(responses, list) else ()):
                if isinstance(one, dict) and one.get("status", "submitted") == "submitted":
                    people[one.get("user_id", place)][question] = one.get("value")
        return list(people.values())
    for name, values in row.items():
        if name.endswith(FLAT) and isinstance(values, list):
            who = row.get(f"{name}.users") or range(len(values))
            status = row.get(f"{name}.status") or ["submitted"] * len(values)
            for person, value, state in zip(who, values, status, strict=False):
                if state == "submitted":
                    people[person][name.removesuffix(FLAT)] = value
    return list(people.values())


def _value(given: Any) -> Any:
    return given.get("value") if isinstance(given, dict) else given


def _preferred(said: Mapping[str, Any], names: list[str]) -> int | str | None:
    """Which of the two fields a person preferred, by ranking, by choice or by rating; None where nothing says so."""
    marks = [_mark(name) for name in names]
    ratings: dict[int, float] = {}
    for question, value in said.items():
        if isinstance(value, list):
            if (found := _ranked(value, marks)) is not None:
                return found
        elif isinstance(value, str):
            if (found := _chosen(value, marks)) is not None:
                return found
        elif isinstance(value, int | float) and not isinstance(value, bool):
            mine = [side for side in (0, 1) if _names(question, names[side], marks[side])]
            if len(mine) == 1:
                ratings[mine[0]] = value
    if len(ratings) < 2:
        return None
    return "tie" if ratings[0] == ratings[1] else int(ratings[1] > ratings[0])


def _ranked(value: list[Any], marks: list[str]) -> int | str | None:
    """The side that stands first: ranks where they are given, else the order."""
    places: dict[str, float] = {}
    for place, one in enumerate(value, 1):
        name, rank = (one.get("value"), one.get("rank") or place) if isinstance(one, dict) else (one, place)
        places[_mark(str(name))] = rank
    if not all(mark in places for mark in marks):
        return None
    first, second = (places[mark] for mark in marks)
    return "tie" if first == second else int(second < first)


def _chosen(value: str, marks: list[str]) -> int | str | None:
    if _mark(value) in marks and _mark(value):
        return marks.index(_mark(value))
    return WORDS.get(value.strip().lower())


def _mark(name: str) -> str:
    """What tells the two apart: the number or letter at the end of a name (`response-2`, `reply_b`, `Response 2`)."""
    found = re.search(r"(?:^|_)(\d+|[a-z])$", plain(name))
    letters = {"a": "1", "b": "2"}
    return letters.get(found.group(1), found.group(1)) if found else plain(name)


def _names(question: str, field: str, mark: str) -> bool:
    """Whether a rating is about this field: named after it, or ending with its number or letter."""
    return plain(field) in plain(question) or _mark(question) == mark
