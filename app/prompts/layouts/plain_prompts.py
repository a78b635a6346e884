"""Prompts alone: a text in a column, an instruction and what it is about, or a conversation."""

from collections.abc import Iterator
from typing import Any

from app.prompts.layouts.columns import CONTEXT, LABELS, MESSAGES, PROMPT, Columns, Row, cell, labels, text_or_turns

PARTS = {"messages": MESSAGES, "prompt": PROMPT, "context": CONTEXT, **LABELS}


def fits(row: Row, columns: Columns) -> bool:
    """Whether a row may be a prompt: the last resort."""
    return "prompt" in columns or "messages" in columns


def read(row: Row, columns: Columns) -> Iterator[dict[str, Any]]:
    """One prompt. A conversation that ends with an answer is taken without it: what was asked is the prompt."""
    talk = text_or_turns(cell(row, columns, "messages"))
    given = talk if talk is not None else text_or_turns(cell(row, columns, "prompt"))
    if isinstance(given, list):
        end = len(given)
        while end and isinstance(given[end - 1], dict) and given[end - 1].get("role") == "assistant":
            end -= 1
        yield {"messages": given[:end], **labels(row, columns)}
        return
    context = cell(row, columns, "context")
    if isinstance(given, str) and isinstance(context, str):
        given = f"{given}\n\n{context}"
    yield {"prompt": given, **labels(row, columns)}
