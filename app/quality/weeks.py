"""How somebody's answers change over time: agreement and pace by week, as a table and as lines to draw."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from statistics import median

from app.languages import _
from app.quality.annotators import agreeing, right
from app.quality.given import Given
from app.quality.shares import Share

MOST_WEEKS = 26
LEFT, RIGHT, TOP, BOTTOM = 6, 250, 20, 112
"""Where a line lies in the picture that templates/quality/_line.html draws."""


@dataclass(frozen=True)
class Week:
    """What was answered in the week from a Monday on (UTC)."""

    monday: date
    answers: int
    agrees: Share
    gold: Share
    seconds: float | None


@dataclass(frozen=True)
class Line:
    """One line to draw: SVG path data, and the values that templates/quality/_line.html writes beside it."""

    title: str
    line: str
    band: str
    points: list[tuple[date, float]]
    last: tuple[float, float]
    low: float
    high: float
    low_y: float
    high_y: float


def weeks_of(answers: Sequence[Given], known: dict[int, list[Given]]) -> list[Week]:
    """The newest weeks in which there were answers, oldest first; `known` as in annotators.figures_of."""
    found: dict[date, list[Given]] = defaultdict(list)
    for answer in answers:
        day = answer.created.astimezone(UTC).date()
        found[day - timedelta(days=day.weekday())].append(answer)
    return [_week(monday, found[monday], known) for monday in sorted(found)[-MOST_WEEKS:]]


def lines_of(weeks: Sequence[Week]) -> list[Line]:
    """A line for each figure that at least two weeks have."""
    agreement = _line(
        _("Agreement with the others, %"),
        weeks,
        lambda week: None if week.agrees.value is None else 100 * week.agrees.value,
        lambda week: _in_percent(week.agrees.interval),
    )
    gold = _line(
        _("Agreement with gold, %"),
        weeks,
        lambda week: None if week.gold.value is None else 100 * week.gold.value,
        lambda week: _in_percent(week.gold.interval),
    )
    pace = _line(_("Median seconds per answer"), weeks, lambda week: week.seconds, lambda week: None)
    return [line for line in (agreement, gold, pace) if line is not None]


def _week(monday: date, answers: Sequence[Given], known: dict[int, list[Given]]) -> Week:
    hits, golds = (list(found.values()) for found in (agreeing(answers, known), right(answers)))
    times = [answer.seconds for answer in answers if answer.seconds is not None]
    middle = median(times) if times else None
    return Week(monday, len(answers), Share(sum(hits), len(hits)), Share(sum(golds), len(golds)), middle)


def _in_percent(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (100 * interval[0], 100 * interval[1])


def _line(
    title: str,
    weeks: Sequence[Week],
    value: Callable[[Week], float | None],
    interval: Callable[[Week], tuple[float, float] | None],
) -> Line | None:
    points = [(week.monday, round(at, 1)) for week in weeks if (at := value(week)) is not None]
    if len(points) < 2:
        return None
    ends = {week.monday: both for week in weeks if (both := interval(week)) is not None}
    return _drawn(title, points, ends)


def _drawn(title: str, points: list[tuple[date, float]], ends: dict[date, tuple[float, float]]) -> Line:
    values = [at for _monday, at in points] + [end for both in ends.values() for end in both]
    low, high = min(values), max(values)
    first, days = points[0][0], (points[-1][0] - points[0][0]).days

    def x(monday: date) -> float:
        return LEFT + (monday - first).days / days * (RIGHT - LEFT)

    def y(at: float) -> float:
        # A flat line lies in the middle.
        return BOTTOM - ((at - low) / (high - low) if high > low else 0.5) * (BOTTOM - TOP)

    outline = [(x(monday), y(both[1])) for monday, both in ends.items()]
    outline += [(x(monday), y(both[0])) for monday, both in reversed(ends.items())]
    return Line(
        title=title,
        line=_path([(x(monday), y(at)) for monday, at in points]),
        band=_path(outline) + "Z" if len(ends) > 1 else "",
        points=points,
        last=(x(points[-1][0]), y(points[-1][1])),
        low=low,
        high=high,
        low_y=y(low),
        high_y=y(high),
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
