"""What a training run is doing now, in one sentence made of what it reported."""

from collections.abc import Mapping
from typing import Any

from app.templating import _

DOING = {
    "read": _("Reads the answers: {step} of {total} responses."),
    "head": _("Fits the head on what the model sees in the answers."),
    "adapters": _("Trains adapters: step {step} of {total}."),
    "reference": _("Scores answers of the base model, for the zero and the unit: {step} of {total}."),
    "report": _("Writes its report."),
    "judge": _("Answers the held-out prompts as it is now."),
    "ppo": _("Update {step} of {total}."),
    "dpo": _("Step {step} of {total}."),
    "evaluate": _("Lets the policies answer the held-out prompts: {step} of {total}."),
}
FIGURES = (
    ("reward", _("reward {value:+.2f}")),
    ("kl", _("KL {value:.1f} nats")),
    ("loss", _("loss {value:.3f}")),
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
