"""Who won: the words that tools use for it, as `preferred` of a comparison."""

from typing import Any

from app.errors import BadInput
from app.languages import _

WORDS: dict[str, int | str] = {
    **dict.fromkeys(("a", "model_a", "response_a", "left", "first", "0", "response_1", "response-1", "answer1"), 0),
    **dict.fromkeys(("b", "model_b", "response_b", "right", "second", "1", "response_2", "response-2", "answer2"), 1),
    **dict.fromkeys(("tie", "same", "equal", "draw", "both_good", "both good"), "tie"),
    **dict.fromkeys(("both_bad", "tie (bothbad)", "bothbad", "both bad", "neither", "none"), "both_bad"),
}


def preferred(value: Any) -> int | str | None:
    """What a row says about who won, None where it says nothing; raises BadInput for a word that is not known."""
    if isinstance(value, dict):
        value = value.get("selected")
    if value is None or value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    found = WORDS.get(str(value).strip().lower()) if not isinstance(value, bool) else None
    if found is None:
        raise BadInput(
            _('{value} says nothing about who won. Write "a", "b", "tie" or "both_bad".').format(value=f"{value!r:.60}")
        )
    return found
