"""Chatbot Arena: two whole conversations, and who won: `model_a`, `model_b`, `tie` or `tie (bothbad)`."""

from collections.abc import Iterator
from typing import Any

from app.prompts.layouts.columns import LABELS, Columns, Row, cell, labels, text_or_turns
from app.prompts.layouts.preference import parted
from app.prompts.layouts.winners import preferred

PARTS = {
    "conversation_a": ("conversation_a",),
    "conversation_b": ("conversation_b",),
    "winner": ("winner",),
    # Arena's `language` is a name ("English") that says nothing about who may judge; it is taken only where asked for.
    **{part: names for part, names in LABELS.items() if part != "language"},
    "language": (),
}


def fits(row: Row, columns: Columns) -> bool:
    """Whether a row has both conversations."""
    return all(cell(row, columns, part) is not None for part in ("conversation_a", "conversation_b"))


def read(row: Row, columns: Columns) -> Iterator[dict[str, Any]]:
    """One comparison of the last answers, where everything before them was the same."""
    talks = [text_or_turns(cell(row, columns, part)) for part in ("conversation_a", "conversation_b")]
    both = [talk if isinstance(talk, list) else [] for talk in talks]
    prompt, first, second = parted(*both)
    winner = preferred(cell(row, columns, "winner"))
    yield {"prompt": prompt, "responses": [first, second], "preferred": winner, **labels(row, columns)}
