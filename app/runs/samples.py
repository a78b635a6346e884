"""Answers before and after training, with what changed marked."""

import difflib
import re
from typing import Any

from markupsafe import Markup

# Longer texts are shown unmarked: the comparison takes time that grows with their square.
LONGEST = 6000


def shown(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The samples with `before` and `after` as HTML in which the words that differ are marked."""
    return [{"prompt": str(item.get("prompt", "")), **_marked(item)} for item in items]


def _marked(item: dict[str, Any]) -> dict[str, Markup]:
    texts = [str(item.get(name, "")) for name in ("before", "after")]
    if max(map(len, texts)) > LONGEST:
        return {"before": Markup.escape(texts[0]), "after": Markup.escape(texts[1])}
    # Words and the space around them, so that joining gives the text back.
    before, after = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in texts)
    left, right = Markup(), Markup()
    for change, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        left += _part("".join(before[a:b]), change != "equal")
        right += _part("".join(after[c:d]), change != "equal")
    return {"before": left, "after": right}


def _part(text: str, changed: bool) -> Markup:
    return Markup("<mark>{}</mark>").format(text) if changed and text.strip() else Markup.escape(text)
