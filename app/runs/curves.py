"""Curves of a run's metrics as SVG coordinates; the macro in templates/runs/_chart.html draws them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

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
    *("reward", "score", "reward_heldout", "kl", "kl_heldout"),
    *("loss", "loss_heldout", "nll", "accuracy", "accuracy_heldout", "length", "eos_rate"),
)
"""What a reader looks at first; the others follow in the order of their names."""
NOT_OVER_TIME = ("evaluate", "reference", "report")
"""Phases whose steps are not moments of learning, so that a line between them would say nothing."""


@dataclass(frozen=True)
class Curve:
    """One line to draw: `line` and `band` are SVG path data, `points` what the table behind shows."""

    name: str
    title: str
    line: str
    band: str
    points: list[tuple[int, float]]
    last: tuple[float, float]
    low: float
    high: float
    low_y: float
    high_y: float


@dataclass(frozen=True)
class Phase:
    """The curves of one phase of a run, and all its figures as a table."""

    name: str
    curves: list[Curve]
    names: list[str]
    rows: list[RunMetric] = field(repr=False)


def of(phase: str, rows: Sequence[RunMetric]) -> Phase:
    """Every metric of a phase that was reported at least twice, most telling first."""
    names = sorted({name for row in rows for name in row.metrics})
    drawn = [name for name in names if not name.endswith(("_low", "_high"))]
    drawn.sort(key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    over_time = () if phase in NOT_OVER_TIME else drawn
    curves = [curve for name in over_time if (curve := _curve(name, rows)) is not None]
    return Phase(phase, curves, names, list(rows))


def _curve(name: str, rows: Sequence[RunMetric]) -> Curve | None:
    points = _points(name, rows)
    if len(points) < 2:
        return None
    lows, highs = dict(_points(f"{name}_low", rows)), dict(_points(f"{name}_high", rows))
    values = [*(y for _step, y in points), *lows.values(), *highs.values()]
    low, high = min(values), max(values)
    first, last = points[0][0], points[-1][0]

    def x(step: int) -> float:
        return LEFT + (step - first) / max(1, last - first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        # A flat line lies in the middle.
        share = (value - low) / (high - low) if high > low else 0.5
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    banded = [step for step, _value in points if step in lows and step in highs]
    outline = [(step, highs[step]) for step in banded] + [(step, lows[step]) for step in reversed(banded)]
    return Curve(
        name=name,
        title=_(TITLES.get(name, name.replace("_", " "))),
        line=_path([(x(step), y(value)) for step, value in points]),
        band=_path([(x(step), y(value)) for step, value in outline]) + "Z" if len(banded) > 1 else "",
        points=points,
        last=(x(last), y(points[-1][1])),
        low=low,
        high=high,
        low_y=y(low),
        high_y=y(high),
    )


def _points(name: str, rows: Sequence[RunMetric]) -> list[tuple[int, float]]:
    """Step and value wherever there is one; of very many, every nth and the last."""
    found = [
        (row.step, float(value))
        for row in rows
        if isinstance(value := row.metrics.get(name), int | float) and math.isfinite(value)
    ]
    every = math.ceil(len(found) / MOST_POINTS) if found else 1
    return found if every == 1 else [*found[:-1:every], found[-1]]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
