"""Several completions of one prompt with scores (UltraFeedback) or ranks (Nectar): the best against each worse one.

Not all pairs: those among the losers say little that the best one's do not, and would weigh a prompt with many
completions far more than one with two.
"""

from collections.abc import Iterator
from typing import Any

from app.errors import BadInput
from app.languages import _
from app.prompts.layouts.columns import (
    LABELS,
    MANY,
    MESSAGES,
    PROMPT,
    SCORES,
    Columns,
    Row,
    cell,
    labels,
    text_or_turns,
)

PARTS = {"messages": MESSAGES, "prompt": PROMPT, "completions": MANY, "scores": SCORES, **LABELS}
TEXTS = ("response", "text", "completion", "answer", "content", "output")
# UltraFeedback's overall_score has known slips (10 for 1); the mean of its aspects has not.
SCORE_KEYS = ("fine-grained_score", "overall_score", "score", "rating", "reward", "rank")
MOST = 100


def fits(row: Row, columns: Columns) -> bool:
    """Whether a row has completions that are scored."""
    try:
        return len(_scored(row, columns)) > 1
    except BadInput:
        return False


def read(row: Row, columns: Columns) -> Iterator[dict[str, Any]]:
    """A comparison of the best completion (the first of equals) with each that has a lower score."""
    talk = cell(row, columns, "messages")
    prompt = text_or_turns(cell(row, columns, "prompt") if talk is None else talk)
    scored = _scored(row, columns)
    top = max(score for score, _text in scored)
    best = next(text for score, text in scored if score == top)
    worse = [text for score, text in scored if score < top]
    if not worse:
        raise BadInput(_("All completions of this prompt have the same score, so none is preferred."))
    for text in worse:
        yield {"prompt": prompt, "chosen": best, "rejected": text, **labels(row, columns)}


def _scored(row: Row, columns: Columns) -> list[tuple[float, Any]]:
    given, scores = cell(row, columns, "completions"), cell(row, columns, "scores")
    if not isinstance(given, list) or not 1 < len(given) <= MOST:
        raise BadInput(_("A prompt needs two to {most} completions with scores.").format(most=MOST))
    if all(isinstance(one, dict) for one in given):
        key = next((key for key in SCORE_KEYS if all(_number(one.get(key)) is not None for one in given)), None)
        if key is None:
            raise BadInput(
                _("Not every completion has a score. Known names for it: {names}.").format(names=", ".join(SCORE_KEYS))
            )
        sign = -1 if key == "rank" else 1
        return [(sign * float(_number(one[key]) or 0), _text(one)) for one in given]
    if not isinstance(scores, list) or len(scores) != len(given) or any(_number(one) is None for one in scores):
        raise BadInput(_("There must be as many scores as completions."))
    sign = -1 if columns["scores"].lower() == "ranks" else 1
    return [(sign * float(_number(score) or 0), one) for score, one in zip(scores, given, strict=True)]


def _text(completion: dict[str, Any]) -> Any:
    return next((text_or_turns(completion[key]) for key in TEXTS if completion.get(key)), None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        found = float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
    return found if found is not None and abs(found) < 1e12 else None
