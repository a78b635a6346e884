"""Preferences as trainers read them (TRL): `chosen` and `rejected`, with a `prompt` or one that both begin with."""

from collections.abc import Iterator
from typing import Any

from app.errors import BadInput
from app.languages import _
from app.prompts.layouts.columns import (
    CHOSEN,
    LABELS,
    PROMPT,
    REJECTED,
    Columns,
    Row,
    cell,
    labels,
    said,
    text_or_turns,
)
from app.prompts.layouts.columns import SAID as HOW

PARTS = {"prompt": PROMPT, "chosen": CHOSEN, "rejected": REJECTED, **HOW, **LABELS}


def fits(row: Row, columns: Columns) -> bool:
    """Whether a row has both."""
    return cell(row, columns, "chosen") is not None and cell(row, columns, "rejected") is not None


def read(row: Row, columns: Columns) -> Iterator[dict[str, Any]]:
    """One comparison, its first response chosen."""
    prompt = text_or_turns(cell(row, columns, "prompt"))
    chosen, rejected = (text_or_turns(cell(row, columns, part)) for part in ("chosen", "rejected"))
    if _is_whole(chosen) and _is_whole(rejected):
        prompt, chosen, rejected = parted(chosen, rejected)
    elif prompt is None and isinstance(chosen, str) and isinstance(rejected, str):
        prompt, chosen, rejected = _begun_alike(chosen, rejected)
    yield {"prompt": prompt, "chosen": chosen, "rejected": rejected, **said(row, columns), **labels(row, columns)}


def _is_whole(value: Any) -> bool:
    """Whether this is a conversation from its start, not only the response at its end."""
    return isinstance(value, list) and len(value) > 1 and value[0].get("role") in ("system", "user")


def parted(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> tuple[Any, Any, Any]:
    """The prompt that two conversations share and the last turn of each; raises BadInput where they part before it."""
    if len(first) < 2 or len(second) < 2:
        raise BadInput(_("A conversation needs a question and an answer at least."))
    if first[:-1] != second[:-1]:
        raise BadInput(
            _("The two conversations differ before their last turn, so these are no two responses to one prompt.")
        )
    return first[:-1], first[-1:], second[-1:]


def _begun_alike(first: str, second: str) -> tuple[str, str, str]:
    """The words that both texts begin with, and what follows in each (a word is never cut in two)."""
    end = next((n for n, (one, other) in enumerate(zip(first, second, strict=False)) if one != other), None)
    end = min(len(first), len(second)) if end is None else end
    while end and not first[end - 1].isspace():
        end -= 1
    if not first[:end].strip():
        raise BadInput(_("There is no prompt here, and the two texts do not begin alike. Say which column has it."))
    return first[:end].strip(), first[end:], second[end:]
