"""What a training run is doing now, in one sentence made of what it reported."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from app.languages import N_, _
from app.models import Run, RunMetric

DOING = {
    "read": N_("Reads the answers: {step} of {total} responses."),
    "head": N_("Fits the head on what the model sees in the answers."),
    "adapters": N_("Trains adapters: step {step} of {total}."),
    "reference": N_("Scores answers of the base model, for the zero and the unit: {step} of {total}."),
    "report": N_("Writes its report."),
    "judge": N_("Answers the held-out prompts as it is now."),
    "ppo": N_("Update {step} of {total}."),
    "dpo": N_("Step {step} of {total}."),
    "evaluate": N_("Lets the policies answer the held-out prompts: {step} of {total}."),
}
FIGURES = (
    ("reward", N_("reward {value:+.2f}")),
    ("kl", N_("KL {value:.1f} nats")),
    ("loss", N_("loss {value:.3f}")),
)


def now_doing(phase: str, step: int, total: int, metrics: Mapping[str, Any]) -> str:
    """Such as "Update 12 of 16. Reward +0.41, KL 3.1 nats."; a phase nobody knows is named as it is."""
    doing = DOING.get(phase, "{phase}: {step} of {total}.").format(phase=phase, step=step, total=total)
    told = [
        words.format(value=metrics[name])
        for name, words in FIGURES
        if isinstance(metrics.get(name), int | float) and phase in ("ppo", "adapters", "dpo")
    ]
    figures = ", ".join(told)
    return f"{doing} {figures[0].upper()}{figures[1:]}." if figures else doing


COUNTED = {
    "ppo": N_("Update {step} of {total}"),
    "dpo": N_("Step {step} of {total}"),
    "adapters": N_("Step {step} of {total}"),
}
TRENDS = {
    "reward": {1: N_("reward rising"), -1: N_("reward falling"), 0: N_("reward level")},
    "loss": {1: N_("loss rising"), -1: N_("loss falling"), 0: N_("loss level")},
}


def headline(run: Run, rows: Sequence[RunMetric], left: str | None, hyper: Mapping[str, Any]) -> str | None:
    """Where a run that learns stands: "Update 12 of 16, 4 minutes left, reward rising, KL 3.1 of 6."; else None."""
    if run.status != "running" or run.phase not in COUNTED:
        return None
    mine = [row.metrics for row in rows if row.phase == run.phase]
    said = [_(COUNTED[run.phase]).format(step=run.done, total=run.total)]
    said += [_("{time} left").format(time=left)] if left else []
    name = "reward" if run.phase == "ppo" else "loss"
    way = trend([float(one[name]) for one in mine if one.get(name) is not None])
    said += [_(TRENDS[name][way])] if way is not None else []
    kl = next((one["kl"] for one in reversed(mine) if one.get("kl") is not None), None)
    if kl is not None and "kl_budget" in hyper:
        said.append(_("KL {kl:.1f} of {budget:g}").format(kl=kl, budget=hyper["kl_budget"]))
    return f"{', '.join(said)}."


def trend(values: Sequence[float]) -> int | None:
    """Whether values rise (1), fall (-1) or neither (0): their last third against their first; None for under four.

    They move where the difference of the two means is more than twice its standard error, by the noise from one value
    to the next.
    """
    if len(values) < 4:
        return None
    third = max(1, len(values) // 3)
    change = fmean(values[-third:]) - fmean(values[:third])
    noise = fmean((b - a) ** 2 for a, b in pairwise(values)) / 2
    if change == 0 or change**2 <= 4 * noise * 2 / third:
        return 0
    return 1 if change > 0 else -1
