"""Pictures of a model's figures as SVG coordinates: shares with their intervals, and a calibration curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.checkpoints import intervals
from app.languages import N_, _

WIDTH, HEIGHT = 240, 22
"""Of one row's picture; its text stands beside it as text."""
SIDE, EDGE = 240, 28
"""Of the calibration curve, and the room for its axes."""

STRENGTHS = (
    (1, N_("where slightly better")),
    (2, N_("where better")),
    (3, N_("where much better")),
)
GAPS = (
    ("small", N_("where the lengths are close")),
    ("middle", N_("where they are apart")),
    ("large", N_("where they are far apart")),
)


@dataclass(frozen=True)
class Guide:
    """A line through all rows, such as chance, and where it stands."""

    name: str
    label: str
    value: float
    x: float


@dataclass(frozen=True)
class Row:
    """One share; `x`, `x_low` and `x_high` are where it stands, the ends None where it has no interval."""

    label: str
    value: float
    low: float | None
    high: float | None
    n: int | None
    x: float
    x_low: float | None
    x_high: float | None


@dataclass(frozen=True)
class Shares:
    """Rows from 0 to 1 with the guides that run through them."""

    rows: list[Row]
    guides: list[Guide]


@dataclass(frozen=True)
class Bin:
    """Answers of like confidence: what was stated, what was right, and where that stands."""

    stated: float
    right: float
    low: float
    high: float
    answers: int
    x: float
    y: float
    y_low: float
    y_high: float


def of_reward(metrics: Mapping[str, Any]) -> Shares | None:
    """How often a reward model is right: over all, by strength, by difference in length; None without any figure."""
    if metrics.get("accuracy") is None:
        return None
    rows = [_row(_("On unseen prompts"), metrics, "accuracy", "accuracy_low", "accuracy_high", "n_heldout")]
    if metrics.get("test_accuracy") is not None:
        rows.append(
            _row(_("On prompts never trained on"), metrics, "test_accuracy", "test_low", "test_high", "test_answers")
        )
    for level, label in STRENGTHS:
        rows += _counted(_(label), metrics, f"accuracy_strength_{level}", f"n_strength_{level}")
    for name, label in GAPS:
        rows += _counted(_(label), metrics, f"accuracy_gap_{name}", f"n_gap_{name}")
    guides = [("chance", _("chance"), 0.5)]
    for name, label in (("length_baseline", _("by length alone")), ("ceiling", _("at best, as people agree"))):
        if metrics.get(name) is not None:
            guides.append((name, label, metrics[name]))
    return Shares(rows, [Guide(name, label, value, _x(value)) for name, label, value in guides])


def of_policy(metrics: Mapping[str, Any]) -> Shares | None:
    """How often a policy wins, against what is in use and the base model, by the reward model and by people."""
    named = (
        (_("Against the policy in use"), "win_rate", "win_low", "win_high", "prompts"),
        (_("… at equal length"), *_with_ends("win_length_controlled"), "prompts"),
        (_("Against the base model"), "win_base_rate", "win_base_low", "win_base_high", "prompts"),
        (_("… at equal length"), *_with_ends("win_base_length_controlled"), "prompts"),
        (_("By people, blindly"), "people_rate", "people_low", "people_high", "people_pairs"),
    )
    rows = [_row(label, metrics, *names) for label, *names in named if metrics.get(names[0]) is not None]
    return Shares(rows, [Guide("chance", _("no difference"), 0.5, _x(0.5))]) if rows else None


def calibration(curve: Sequence[Mapping[str, float]]) -> list[Bin]:
    """The calibration curve's points: stated confidence to the right, what was right upwards, both from 0.5 to 1."""
    return [
        Bin(
            stated=one["confidence"],
            right=one["right"],
            low=one["low"],
            high=one["high"],
            answers=round(one["answers"]),
            x=_along(one["confidence"]),
            y=SIDE - _along(one["right"]),
            y_low=SIDE - _along(one["low"]),
            y_high=SIDE - _along(one["high"]),
        )
        for one in curve
    ]


def _with_ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _counted(label: str, metrics: Mapping[str, Any], name: str, count: str) -> list[Row]:
    """A share of which only the count is known: its interval follows from that."""
    if metrics.get(name) is None or not metrics.get(count):
        return []
    n = round(metrics[count])
    found = intervals.of_share(metrics[name], n)
    return [_placed(label, metrics[name], found[0], found[1], n)]


def _row(label: str, metrics: Mapping[str, Any], name: str, low: str, high: str, count: str) -> Row:
    n = metrics.get(count)
    return _placed(label, metrics[name], metrics.get(low), metrics.get(high), None if n is None else round(n))


def _placed(label: str, value: float, low: float | None, high: float | None, n: int | None) -> Row:
    ends = (None, None) if low is None or high is None else (_x(low), _x(high))
    return Row(label, value, low, high, n, _x(value), *ends)


def _x(share: float) -> float:
    return round(4 + share * (WIDTH - 8), 1)


def _along(share: float) -> float:
    """Along an axis from 0.5 to 1; what lies below stands at the edge."""
    return round(EDGE + (max(0.5, share) - 0.5) * 2 * (SIDE - 2 * EDGE), 1)
