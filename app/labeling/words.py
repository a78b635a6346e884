"""The words of the label page: its steps and keys, flags, reasons to skip, and an answer said back."""

from dataclasses import dataclass
from typing import Any

from app.errors import BadInput
from app.models import Answer
from app.templating import _

FLAGS = {
    "harmful": _("Harmful"),
    "wrong_language": _("Wrong language"),
    "broken": _("Broken or cut off"),
    "personal_data": _("Personal data"),
}

SKIP_REASONS = {
    "too_long": _("Too long to read with care"),
    "language": _("Not in a language I read well"),
    "unclear": _("The prompt makes no sense"),
    "upsetting": _("I would rather not read this"),
    "other": _("Another reason"),
}

# By how many steps of strength a project asks for: strength -> words for the left side, and for the right side.
_BETTER = {
    1: {1: (_("A better"), _("B better"))},
    2: {2: (_("A better"), _("B better")), 1: (_("A slightly better"), _("B slightly better"))},
    3: {
        3: (_("A much better"), _("B much better")),
        2: (_("A better"), _("B better")),
        1: (_("A slightly better"), _("B slightly better")),
    },
}

_OTHERWISE = {
    "tie": _("About the same"),
    "both_bad": _("Both bad"),
    "skipped": _("Skipped"),
    "cannot_judge": _("Cannot judge"),
}


@dataclass(frozen=True)
class Step:
    """One button of the row from "A much better" to "B much better"; `key` is the digit that presses it."""

    value: str
    key: str
    side: str
    words: str


def steps(strengths: int) -> list[Step]:
    """The row of a project that asks for so many steps of strength: 7, 5 or 3 buttons."""
    better = _BETTER[strengths]
    left = [(f"left-{strength}", "left", words[0]) for strength, words in better.items()]
    right = [(f"right-{strength}", "right", words[1]) for strength, words in reversed(better.items())]
    row = [*left, ("tie", "middle", _OTHERWISE["tie"]), *right]
    return [Step(value, str(number), side, words) for number, (value, side, words) in enumerate(row, 1)]


def value_of(answer: Answer, shown_left: str) -> str:
    """Which button gave this answer."""
    if answer.verdict != "preferred":
        return answer.verdict
    return f"{'left' if answer.preferred == shown_left else 'right'}-{answer.strength}"


def said(answer: Answer, shown_left: str, strengths: int) -> str:
    """An answer in the words of the button that gave it; A is the left one."""
    if answer.verdict != "preferred" or answer.strength is None:
        return _OTHERWISE[answer.verdict]
    # A project may ask for fewer steps today than when this was said.
    words = _BETTER[max(strengths, answer.strength)][answer.strength]
    return words[0] if answer.preferred == shown_left else words[1]


def choice(value: str) -> dict[str, Any]:
    """A button's value as verdict, preferred and strength; raises BadInput."""
    side, _dash, strength = value.partition("-")
    if side in ("left", "right") and strength in ("1", "2", "3"):
        return {"verdict": "preferred", "preferred": side, "strength": int(strength)}
    if value in _OTHERWISE:
        return {"verdict": value}
    raise BadInput(_("Choose one of the steps from A to B, both bad, cannot judge, or skip."))
