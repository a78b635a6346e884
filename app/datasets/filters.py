"""Which of a project's answers an export takes, as a person or a program chose them."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Self

from app.errors import BadInput
from app.models import PURPOSES

SOURCES = ("page", "api", "chat", "import", "feedback")
"""Where an answer may come from, as the answers table's own constraint has it."""
BASE, OUTSIDE = "base", "outside"
"""Among checkpoints: the base model, which has none, and text that was brought in."""
LISTS = ("purposes", "sources", "annotators", "tags", "checkpoints")
MOST = 200
"""Values of one filter."""


@dataclass(frozen=True)
class Filters:
    """All empty: every answer of people whom no admin excluded, but for those that only measure people.

    `since` is included, `until` is not; both are about `created_at`. `annotators` are pseudonyms, as manifests have
    them. `checkpoints` wrote both responses. `agreement` is the share of a comparison's answers that say the
    same, `strength` how much better the preferred response has to be.
    """

    simulated: bool = False
    since: datetime | None = None
    until: datetime | None = None
    purposes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    annotators: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    agreement: float | None = None
    strength: int | None = None

    @classmethod
    def from_json(cls, chosen: object) -> Self:
        """Read a request's `filters`; raises BadInput with a sentence for what is not known or makes no sense."""
        if not isinstance(chosen, dict):
            raise BadInput('filters must be an object, such as {"since": "2026-01-31T00:00:00Z"}.')
        known = {field.name for field in fields(cls)}
        unknown = sorted(str(name) for name in set(chosen) - known)
        if unknown:
            raise BadInput(f"{unknown[0]!r} is not a filter. Known are: {', '.join(sorted(known))}.")
        simulated = chosen.get("simulated", False)
        if not isinstance(simulated, bool):
            raise BadInput(f"The filter simulated must be true or false, not {simulated!r}.")
        return cls(
            simulated=simulated,
            since=_moment(chosen.get("since"), "since"),
            until=_moment(chosen.get("until"), "until"),
            purposes=_some_of(chosen.get("purposes"), "purposes", PURPOSES),
            sources=_some_of(chosen.get("sources"), "sources", SOURCES),
            annotators=_words(chosen.get("annotators"), "annotators"),
            tags=_words(chosen.get("tags"), "tags"),
            checkpoints=_checkpoints(chosen.get("checkpoints")),
            agreement=_number(chosen.get("agreement"), "agreement", 0, 1),
            strength=_strength(chosen.get("strength")),
        )

    def to_json(self) -> dict[str, Any]:
        """Only what was chosen; `from_json` gives the same filters back."""
        chosen: dict[str, Any] = {"simulated": self.simulated}
        for name in ("since", "until"):
            if (moment := getattr(self, name)) is not None:
                chosen[name] = moment.isoformat()
        for name in LISTS:
            if values := getattr(self, name):
                chosen[name] = list(values)
        for name in ("agreement", "strength"):
            if (least := getattr(self, name)) is not None:
                chosen[name] = least
        return chosen


def _moment(value: object, name: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise BadInput(f"The filter {name} must be a time such as 2026-01-31T00:00:00Z, not {value!r}.")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _some_of(value: object, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(item in known for item in value):
        raise BadInput(f"The filter {name} must be a list of some of {', '.join(known)}, not {value!r}.")
    return tuple(item for item in known if item in value)


def _words(value: object, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST or not all(isinstance(item, str) and item for item in value):
        raise BadInput(f"The filter {name} must be a list of at most {MOST} words, not {value!r}.")
    if any("\x00" in item for item in value):
        raise BadInput(f"A word of the filter {name} holds a NUL character. Leave it out.")
    return tuple(dict.fromkeys(value))


def _checkpoints(value: object) -> tuple[str, ...]:
    chosen = _words(value, "checkpoints")
    for one in chosen:
        if one not in (BASE, OUTSIDE) and not (one.isascii() and one.isdecimal() and len(one) < 19):
            raise BadInput(
                f"The filter checkpoints must be a list of ids, {BASE} (the base model) and {OUTSIDE} (text brought "
                f"in); {one!r} is none of them."
            )
    return chosen


def _number(value: object, name: str, least: float, most: float) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise BadInput(f"The filter {name} must be a number from {least:g} to {most:g}, not {value!r}.")
    return number


def _strength(value: object) -> int | None:
    number = _number(value, "strength", 1, 3)
    if number is not None and number != int(number):
        raise BadInput(f"The filter strength must be 1, 2 or 3, not {value!r}.")
    return None if number is None else int(number)
