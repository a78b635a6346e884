"""Preferences as in HH-RLHF: chosen and rejected, each a whole conversation in one text, `Human: … Assistant: …`."""

import re
from collections.abc import Iterator
from typing import Any

from app.errors import BadInput
from app.languages import _
from app.prompts.layouts.columns import CHOSEN, LABELS, REJECTED, SAID, Columns, Row, cell, labels, said
from app.prompts.layouts.preference import parted

PARTS = {"chosen": CHOSEN, "rejected": REJECTED, **SAID, **LABELS}
SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?")


def fits(row: Row, columns: Columns) -> bool:
    """Whether both texts begin with what a person says."""
    both = (cell(row, columns, "chosen"), cell(row, columns, "rejected"))
    return all(isinstance(text, str) and text.lstrip().startswith("Human:") for text in both)


def read(row: Row, columns: Columns) -> Iterator[dict[str, Any]]:
    """One comparison, its first response chosen."""
    prompt, chosen, rejected = parted(*(_turns(cell(row, columns, part)) for part in ("chosen", "rejected")))
    yield {"prompt": prompt, "chosen": chosen, "rejected": rejected, **said(row, columns), **labels(row, columns)}


def _turns(text: Any) -> list[dict[str, Any]]:
    if not isinstance(text, str) or not text.lstrip().startswith("Human:"):
        raise BadInput(_('A transcript must begin with "Human:" and have a blank line before each turn.'))
    pieces = SPEAKER.split(text.strip())[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[speaker], "content": words.strip()}
        for speaker, words in zip(pieces[::2], pieces[1::2], strict=True)
    ]
