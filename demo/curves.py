"""One figure over the steps of a run, as an SVG that carries its own labels and needs no script."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 34


@dataclass(frozen=True)
class Line:
    """A horizontal or vertical line with its name: a limit not to be crossed, or the step that was kept."""

    at: float
    name: str


@dataclass(frozen=True)
class Curve:
    """What to draw: `points` are (step, value) in the order of the steps."""

    title: str
    x_name: str
    points: Sequence[tuple[float, float]]
    limit: Line | None = None
    kept: Line | None = None


@dataclass(frozen=True)
class Frame:
    """Where steps and values lie in the picture."""

    first: float
    last: float
    low: float
    high: float

    @classmethod
    def around(cls, curve: Curve) -> "Frame":
        """The curve's range, widened by a tenth above and below so that no point lies on the edge."""
        steps = [x for x, _ in curve.points]
        values = [y for _, y in curve.points] + ([curve.limit.at] if curve.limit else [])
        low, high = min(values), max(values)
        margin = (high - low) * 0.1 or max(abs(high) * 0.1, 0.1)
        return cls(min(steps), max(max(steps), min(steps) + 1), low - margin, high + margin)

    def x(self, step: float) -> float:
        return round(LEFT + (step - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM), 1)

    def ticks(self) -> list[float]:
        """Round values inside the range, six at most."""
        sizes = sorted(base * 10.0**power for power in range(-6, 9) for base in (1, 2, 5))
        size = next(size for size in sizes if (self.high - self.low) / size <= 6)
        return [n * size for n in range(int(self.low // size) + 1, int(self.high // size) + 1)]


def svg(curve: Curve) -> str:
    """Return the curve as an <svg> element; a sentence in its place where there is nothing to draw."""
    if not curve.points:
        return f"<p>{escape(curve.title)}: the run reported no values.</p>"
    frame = Frame.around(curve)
    path = " ".join(f"{frame.x(step)},{frame.y(value)}" for step, value in curve.points)
    parts = [
        _text(LEFT, 16, curve.title, "title"),
        *(_grid_line(frame, value) for value in frame.ticks()),
        *(_text(frame.x(step), HEIGHT - 18, f"{step:g}", "axis", "middle") for step in (frame.first, frame.last)),
        _text(WIDTH / 2, HEIGHT - 4, curve.x_name, "axis", "middle"),
        _limit(frame, curve.limit) if curve.limit else "",
        _kept(frame, curve.kept) if curve.kept else "",
        f'<polyline class="curve" points="{path}"/>',
        *(f'<circle class="point" cx="{frame.x(step)}" cy="{frame.y(value)}" r="3"/>' for step, value in curve.points),
    ]
    described = f"{curve.title}: from {curve.points[0][1]:.2f} to {curve.points[-1][1]:.2f}"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(described)}">{"".join(parts)}</svg>'


def _grid_line(frame: Frame, value: float) -> str:
    y = frame.y(value)
    line = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
    return line + _text(LEFT - 6, y + 4, f"{value:.6g}", "axis", "end")


def _limit(frame: Frame, limit: Line) -> str:
    y = frame.y(limit.at)
    line = f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
    return line + _text(LEFT + 4, y - 4, limit.name, "limit-name")


def _kept(frame: Frame, kept: Line) -> str:
    x = frame.x(kept.at)
    line = f'<line class="kept" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
    end = "end" if x > WIDTH / 2 else "start"
    return line + _text(x - 4 if end == "end" else x + 4, TOP + 8, kept.name, "kept-name", end)


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
