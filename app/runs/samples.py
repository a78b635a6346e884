"""Answers before, during and after training, with what changed from one look to the next marked."""

import difflib
import re
from itertools import pairwise
from typing import Any

from markupsafe import Markup

# Longer texts are shown unmarked: the comparison takes time that grows with their square.
LONGEST = 6000
MOST_LOOKS = 12
"""How many answers on the way are kept of each prompt; of more, the oldest but the first go."""


def grown(before: list[dict[str, Any]], items: list[dict[str, Any]], step: int) -> list[dict[str, Any]]:
    """The samples as they are kept: each new answer after the earlier ones to its prompt, with the step it is from."""
    known = {one.get("prompt"): one.get("looks", []) for one in before}
    return [{**item, "looks": _with(known.get(item.get("prompt"), []), item, step)} for item in items]


def _with(looks: list[dict[str, Any]], item: dict[str, Any], step: int) -> list[dict[str, Any]]:
    earlier = [one for one in looks if one["step"] < step]
    found = [*earlier, {"step": step, "text": str(item.get("after", ""))}]
    return found if len(found) <= MOST_LOOKS else [found[0], *found[2:]]


def shown(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The samples with `before` and `after` as HTML in which the words that differ are marked, and the way there.

    `looks` holds the answers on the way, each marked against the one before it.
    """
    return [{"prompt": str(item.get("prompt", "")), **_ends(item), "looks": _way(item)} for item in items]


def _ends(item: dict[str, Any]) -> dict[str, Markup]:
    before, after = _marked(str(item.get("before", "")), str(item.get("after", "")))
    return {"before": before, "after": after}


def _way(item: dict[str, Any]) -> list[dict[str, Any]]:
    looks = item.get("looks", [])
    texts = [str(item.get("before", "")), *(str(one["text"]) for one in looks)]
    pairs = pairwise(texts)
    return [
        {"step": one["step"], "text": _marked(earlier, later)[1], "same": earlier == later}
        for one, (earlier, later) in zip(looks, pairs, strict=True)
    ]


def _marked(*texts: str) -> tuple[Markup, Markup]:
    """Two texts as HTML in which the words that differ are marked."""
    if max(map(len, texts)) > LONGEST:
        return Markup.escape(texts[0]), Markup.escape(texts[1])
    # Words and the space around them, so that joining gives the text back.
    before, after = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in texts)
    left, right = Markup(), Markup()
    for change, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        left += _part("".join(before[a:b]), change != "equal")
        right += _part("".join(after[c:d]), change != "equal")
    return left, right


def _part(text: str, changed: bool) -> Markup:
    return Markup("<mark>{}</mark>").format(text) if changed and text.strip() else Markup.escape(text)
