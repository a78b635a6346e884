"""Two responses in columns of their own or in a list, with a winner or without: tables by hand, and the API's own."""

from collections.abc import Iterator
from typing import Any

from app.prompts.layouts.columns import (
    FIRST,
    LABELS,
    MANY,
    MESSAGES,
    PROMPT,
    SAID,
    SECOND,
    WINNER,
    Columns,
    Row,
    cell,
    labels,
    said,
    text_or_turns,
)
from app.prompts.layouts.winners import preferred

PARTS = {
    "messages": MESSAGES,
    "prompt": PROMPT,
    "response_a": FIRST,
    "response_b": SECOND,
    "responses": MANY,
    "winner": WINNER,
    **SAID,
    **LABELS,
}


def fits(row: Row, columns: Columns) -> bool:
    """Whether a row has two responses, apart or as a list of exactly two."""
    apart = all(cell(row, columns, part) is not None for part in ("response_a", "response_b"))
    both = cell(row, columns, "responses")
    return apart or (isinstance(both, list) and len(both) == 2 and all(isinstance(one, str | list) for one in both))


def read(row: Row, columns: Columns) -> Iterator[dict[str, Any]]:
    """One comparison, answered where the row names a winner."""
    talk = cell(row, columns, "messages")
    both = cell(row, columns, "responses")
    if both is None:
        both = [cell(row, columns, part) for part in ("response_a", "response_b")]
    yield {
        "prompt": text_or_turns(cell(row, columns, "prompt") if talk is None else talk),
        "responses": [text_or_turns(one) for one in both] if isinstance(both, list) else both,
        "preferred": preferred(cell(row, columns, "winner")),
        **({"flags": row["flags"]} if row.get("flags") else {}),
        **({"answers": row["answers"]} if isinstance(row.get("answers"), list) else {}),
        **said(row, columns),
        **labels(row, columns),
    }
