"""What a training run is doing now, in one sentence made of what it reported."""

from collections.abc import Mapping
from typing import Any

from app.languages import N_

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
