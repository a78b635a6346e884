"""The words of the label page: its steps and keys, flags, reasons to skip, and an answer said back."""

from dataclasses import dataclass
from typing import Any

from app.errors import BadInput
from app.languages import N_, _
from app.models import Answer

FLAGS = {
    "harmful": N_("Harmful"),
    "wrong_language": N_("Wrong language"),
    "broken": N_("Broken or cut off"),
    "personal_data": N_("Personal data"),
}

SKIP_REASONS = {
    "too_long": N_("Too long to read with care"),
    "language": N_("Not in a language I read well"),
    "unclear": N_("The prompt makes no sense"),
    "upsetting": N_("I would rather not read this"),
    "other": N_("Another reason"),
}

# By how many steps of strength a project asks for: strength -> words for the left side, and for the right side.
_BETTER = {
    1: {1: (N_("A better"), N_("B better"))},
    2: {2: (N_("A better"), N_("B better")), 1: (N_("A slightly better"), N_("B slightly better"))},
    3: {
        3: (N_("A much better"), N_("B much better")),
        2: (N_("A better"), N_("B better")),
        1: (N_("A slightly better"), N_("B slightly better")),
    },
}

_OTHERWISE = {
    "tie": N_("About the same"),
    "both_bad": N_("Both bad"),
    "skipped": N_("Skipped"),
    "cannot_judge": N_("Cannot judge"),
}


VERDICTS = {"preferred": N_("One is better"), **_OTHERWISE}
"""What an answer may come to, as the history lets people look for it."""


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
