"""What people type into the forms about projects, and the settings that it means."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from app.errors import BadInput
from app.models import Project
from app.models.policies import Labeling, Retraining, Sampling
from app.projects.schemas import ProjectChanges
from app.settings import settings

Number = TypeVar("Number", int, float)

SAMPLING: dict[str, tuple[Callable[[str], Any], str]] = {
    "temperature": (float, "The temperature"),
    "top_p": (float, "Top-p"),
    "max_tokens": (int, "The longest answer"),
    "stock": (int, "How many pairs wait"),
    "full_distribution": (float, "The share of plain pairs"),
}


def number(typed: str, kind: Callable[[str], Number], what: str) -> Number | None:
    """The number somebody typed, None for nothing; BadInput with a sentence that begins with `what`."""
    if not typed.strip():
        return None
    try:
        # A comma is how half of the world writes the point.
        return kind(typed.strip().replace(",", "."))
    except ValueError:
        shape = "a whole number, such as 3" if kind is int else "a number, such as 0.9"
        raise BadInput(f"{what} must be {shape}, not {typed.strip()[:40]!r}.") from None


def served_bases() -> list[str]:
    """The base models that an engine of this installation serves."""
    return [settings.base_model if name == "*" else name for name in settings.engines]


def as_typed(project: Project) -> dict[str, str]:
    """The settings of a project as the form shows them; empty where a default or nothing holds."""
    policies = {
        **asdict(Sampling.from_json(project.sampling)),
        **asdict(Labeling.from_json(project.labeling)),
        **asdict(Retraining.from_json(project.retraining)),
    }
    policies["criteria"] = "\n".join(policies["criteria"])
    typed = {name: "" if value is None else str(value) for name, value in policies.items()}
    return typed | {
        "name": project.name,
        "labels_per_comparison": str(project.labels_per_comparison),
        "restricted": "true" if project.restricted else "",
    }


def changes_from(form: Mapping[str, str]) -> ProjectChanges:
    """The changes that a filled-in settings form asks for; an empty field means the default."""
    return ProjectChanges(
        name=form.get("name", ""),
        labels_per_comparison=number(form.get("labels_per_comparison", ""), int, "How many answers a comparison needs"),
        sampling={name: number(form.get(name, ""), kind, what) for name, (kind, what) in SAMPLING.items()},
        labeling={
            "strengths": number(form.get("strengths", ""), int, "The steps of strength"),
            "rationale": form.get("rationale") or None,
            "repeats": number(form.get("repeats", ""), int, "How many surprising answers are asked again"),
            "criteria": [line.strip() for line in form.get("criteria", "").splitlines() if line.strip()],
        },
        retraining={
            "every": number(form.get("every", ""), int, "After how many answers training starts"),
            "cron": form.get("cron", "").strip() or None,
        },
        restricted=bool(form.get("restricted")),
    )
