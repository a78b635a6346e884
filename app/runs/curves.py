"""Curves of a run's metrics as SVG coordinates; the macro in templates/runs/_chart.html draws them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.languages import N_, _
from app.models import RunMetric

WIDTH, HEIGHT = 320, 132
LEFT, RIGHT, TOP, BOTTOM = 6, 70, 20, 20
MOST_POINTS = 240

TITLES = {
    "loss": N_("Loss"),
    "nll": N_("Loss on unseen prompts"),
    "grad_norm": N_("Length of the gradient"),
    "loss_heldout": N_("Loss on unseen choices"),
    "accuracy": N_("Accuracy"),
    "accuracy_heldout": N_("Accuracy on unseen choices"),
    "margin": N_("Lead of the preferred answer, nats"),
    "margin_heldout": N_("The same on unseen choices"),
    "reward": N_("Reward after the price of KL"),
    "score": N_("Score by the reward model"),
    "reward_heldout": N_("Reward on held-out prompts"),
    "kl": N_("KL to the base model, nats per answer"),
    "kl_heldout": N_("KL on held-out prompts"),
    "kl_k3": N_("KL, by the low-variance estimate"),
    "beta": N_("Price of a nat of KL"),
    "pace": N_("Part of the step size that is taken"),
    "leash": N_("What the adapters are multiplied by to stay near the target"),
    "length": N_("Length, tokens"),
    "length_heldout": N_("Length on held-out prompts"),
    "entropy": N_("Entropy, nats per token"),
    "eos_rate": N_("Answers that came to their end"),
    "eos_heldout": N_("The same on held-out prompts"),
    "distinct_heldout": N_("Share of different word pairs"),
    "clip_fraction": N_("Share of clipped tokens"),
    "explained_variance": N_("Explained variance of the value"),
    "ratio_max": N_("Largest change of a probability"),
    "tokens_per_s": N_("Tokens per second"),
    "rss_mb": N_("Memory, MB"),
    "first_ratio": N_("Probability ratio before the first step"),
    "sampler_gap": N_("Gap between sampler and trainer, nats"),
    "reference_gap": N_("Gap between fresh policy and base model, nats"),
    "mask_gap": N_("Tokens that the mask counts wrongly"),
    "steps_skipped": N_("Steps left out"),
    "tokens": N_("Tokens drawn"),
}
FIRST = (
    *("reward", "reward_heldout", "kl", "kl_heldout", "entropy", "length", "eos_rate"),
    *("clip_fraction", "explained_variance", "tokens_per_s"),
    *("loss", "nll", "loss_heldout", "accuracy", "accuracy_heldout", "margin_heldout"),
)
"""What a reader looks at first; the others follow in the order of their names."""
BUDGETED = {"kl": "kl_budget", "kl_heldout": "kl_budget"}
"""Figures that a setting limits; the limit is drawn with them."""
MOST_OVERLAID = 6
NOT_OVER_TIME = ("evaluate", "reference", "report")
"""Phases whose steps are not moments of learning, so that a line between them would say nothing."""


@dataclass(frozen=True)
class Scale:
    """From steps and values to the drawing's coordinates."""

    first: int
    last: int
    low: float
    high: float

    def x(self, step: float) -> float:
        return LEFT + (step - self.first) / max(1, self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        # A flat line lies in the middle.
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Sequence[tuple[int, float]]) -> str:
        return "M" + "L".join(f"{self.x(step):.1f},{self.y(value):.1f}" for step, value in points)

    def places(self, points: Sequence[tuple[int, float]]) -> list[list[float]]:
        """Step, value and coordinates of every point, for the shared cursor."""
        return [
            [step, float(f"{value:.4g}"), round(self.x(step), 1), round(self.y(value), 1)] for step, value in points
        ]


@dataclass(frozen=True)
class Curve:
    """One line to draw: `line` and `band` are SVG path data, `points` what the table behind shows."""

    name: str
    title: str
    scale: Scale
    line: str
    band: str
    points: list[tuple[int, float]]
    limit: float | None
    marks: list[float]
    """Where a run was taken up again, as x."""

    @property
    def places(self) -> list[list[float]]:
        return self.scale.places(self.points)


@dataclass(frozen=True)
class Phase:
    """The curves of one phase of a run, most telling first, and all its figures as a table."""

    name: str
    curves: list[Curve]
    more: list[Curve]
    names: list[str]
    rows: list[RunMetric] = field(repr=False)


def of(
    phase: str,
    rows: Sequence[RunMetric],
    hyper: Mapping[str, Any] | None = None,
    interruptions: Sequence[Mapping[str, Any]] = (),
) -> Phase:
    """Every metric of a phase that was reported at least twice, with its limit and where the run was taken up again."""
    names = sorted({name for row in rows for name in row.metrics})
    drawn = [name for name in names if not name.endswith(("_low", "_high"))]
    drawn.sort(key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    over_time = () if phase in NOT_OVER_TIME else drawn
    again = [one["step"] for one in interruptions if one.get("phase") == phase]
    limits = {name: (hyper or {}).get(setting) for name, setting in BUDGETED.items()}
    curves = [curve for name in over_time if (curve := _curve(name, rows, limits.get(name), again)) is not None]
    first = [curve for curve in curves if curve.name in FIRST]
    # Where nothing is known of what matters, everything stands in the first row.
    return Phase(phase, first or curves, [curve for curve in curves if first and curve not in first], names, list(rows))


def _curve(name: str, rows: Sequence[RunMetric], limit: float | None, again: Sequence[int]) -> Curve | None:
    points = _points(name, rows)
    if len(points) < 2:
        return None
    lows, highs = dict(_points(f"{name}_low", rows)), dict(_points(f"{name}_high", rows))
    values = [*(y for _step, y in points), *lows.values(), *highs.values(), *([limit] if limit is not None else [])]
    scale = Scale(points[0][0], points[-1][0], min(values), max(values))
    banded = [step for step, _value in points if step in lows and step in highs]
    outline = [(step, highs[step]) for step in banded] + [(step, lows[step]) for step in reversed(banded)]
    return Curve(
        name=name,
        title=title(name),
        scale=scale,
        line=scale.path(points),
        band=scale.path(outline) + "Z" if len(banded) > 1 else "",
        points=points,
        limit=limit,
        marks=[scale.x(step) for step in again if scale.first <= step <= scale.last],
    )


@dataclass(frozen=True)
class Line:
    """One run's line in an overlay; `label_y` is where its label stands without covering another."""

    run: int
    path: str
    points: list[tuple[int, float]]
    places: list[list[float]]
    end: tuple[float, float]
    label_y: float


@dataclass(frozen=True)
class Overlay:
    """The same figure of several runs in one drawing."""

    name: str
    title: str
    scale: Scale
    lines: list[Line]


def overlaid(phase: str, rows_of: Mapping[int, Sequence[RunMetric]]) -> list[Overlay]:
    """The figures of a phase that at least two of the runs reported over time, most telling first."""
    if phase in NOT_OVER_TIME:
        return []
    names = {name for rows in rows_of.values() for row in rows for name in row.metrics}
    drawn = sorted(
        (name for name in names if not name.endswith(("_low", "_high"))),
        key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name),
    )
    return [overlay for name in drawn if (overlay := _overlay(name, rows_of)) is not None]


def _overlay(name: str, rows_of: Mapping[int, Sequence[RunMetric]]) -> Overlay | None:
    points_of = {run: points for run, rows in rows_of.items() if len(points := _points(name, rows)) > 1}
    if len(points_of) < 2:
        return None
    steps = [step for points in points_of.values() for step, _value in points]
    values = [value for points in points_of.values() for _step, value in points]
    scale = Scale(min(steps), max(steps), min(values), max(values))
    ends = {run: (scale.x(points[-1][0]), scale.y(points[-1][1])) for run, points in points_of.items()}
    label_at = _apart({run: y for run, (_x, y) in ends.items()})
    lines = [
        Line(run, scale.path(points), points, scale.places(points), ends[run], label_at[run])
        for run, points in points_of.items()
    ]
    return Overlay(name, title(name), scale, lines)


def _apart(heights: Mapping[int, float], least: float = 13.0) -> dict[int, float]:
    """The heights of labels, moved so far that none covers another and none leaves the drawing."""
    order = sorted(heights, key=lambda run: heights[run])
    placed: dict[int, float] = {}
    at = -math.inf
    for run in order:
        at = placed[run] = max(heights[run], at + least)
    at = HEIGHT - 6.0
    for run in reversed(order):
        at = placed[run] = min(placed[run], at)
        at -= least
    return placed


def title(name: str) -> str:
    """What a figure is called above its curve."""
    return _(TITLES.get(name, name.replace("_", " ")))


def _points(name: str, rows: Sequence[RunMetric]) -> list[tuple[int, float]]:
    """Step and value wherever there is one; of very many, every nth and the last."""
    found = [
        (row.step, float(value))
        for row in rows
        if isinstance(value := row.metrics.get(name), int | float) and math.isfinite(value)
    ]
    every = math.ceil(len(found) / MOST_POINTS) if found else 1
    return found if every == 1 else [*found[:-1:every], found[-1]]
