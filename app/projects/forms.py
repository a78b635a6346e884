"""What people type into the forms about projects, and the settings that it means."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from app.errors import BadInput
from app.languages import N_, _
from app.models import Project
from app.models.policies import Gates, Keeping, Labeling, Retraining, Sampling, Serving
from app.projects import guidelines
from app.projects.schemas import ProjectChanges
from app.settings import settings

Number = TypeVar("Number", int, float)

# What a field is to hold, said where something else was typed.
TEMPERATURE = N_("The temperature must be a number, such as 0.9, not {given!r}.")
TOP_P = N_("Top-p must be a number, such as 0.9, not {given!r}.")
MAX_TOKENS = N_("The longest answer must be a whole number, such as 3, not {given!r}.")
STOCK = N_("How many pairs wait must be a whole number, such as 3, not {given!r}.")
FULL_DISTRIBUTION = N_("The share of plain pairs must be a number, such as 0.9, not {given!r}.")
LABELS = N_("How many answers a comparison needs must be a whole number, such as 3, not {given!r}.")
STRENGTHS = N_("The steps of strength must be a whole number, such as 3, not {given!r}.")
REPEATS = N_("How many surprising answers are asked again must be a whole number, such as 3, not {given!r}.")
GOLD = N_("The share of gold comparisons must be a whole number, such as 3, not {given!r}.")
OWN_REPEATS = N_("The share of one's own pairs must be a whole number, such as 3, not {given!r}.")
QUALIFICATION = N_("The number of practice pairs must be a whole number, such as 3, not {given!r}.")
QUALIFICATION_SHARE = N_("How many practice pairs have to be right must be a whole number, such as 80, not {given!r}.")
EVERY = N_("After how many answers training starts must be a whole number, such as 3, not {given!r}.")
ACCURACY = N_("The lowest accuracy must be a number, such as 0.5, not {given!r}.")
WIN_RATE = N_("The lowest win rate must be a number, such as 0.5, not {given!r}.")
KL_BUDGET = N_("The KL budget must be a number of nats, such as 6, not {given!r}.")
PEOPLE = N_("How many pairs people compare must be a whole number, such as 40, not {given!r}.")
PEOPLE_RATE = N_("The lowest share that people prefer must be a number, such as 0.5, not {given!r}.")
ANSWER_TWICE = N_("The share of answers that come twice must be a number, such as 0.25, not {given!r}.")
DAYS = N_("After how many days files are removed must be a whole number, such as 90, not {given!r}.")
NEWEST = N_("How many models stay in any case must be a whole number, such as 10, not {given!r}.")

SAMPLING: dict[str, tuple[Callable[[str], Any], str]] = {
    "temperature": (float, TEMPERATURE),
    "top_p": (float, TOP_P),
    "max_tokens": (int, MAX_TOKENS),
    "stock": (int, STOCK),
    "full_distribution": (float, FULL_DISTRIBUTION),
}

# The whole numbers of the labelling policy.
LABELING = {
    "strengths": STRENGTHS,
    "repeats": REPEATS,
    "gold": GOLD,
    "own_repeats": OWN_REPEATS,
    "qualification": QUALIFICATION,
    "qualification_share": QUALIFICATION_SHARE,
}


def number(typed: str, kind: Callable[[str], Number], refusal: str) -> Number | None:
    """The number somebody typed, None for nothing; BadInput with the refusal."""
    if not typed.strip():
        return None
    try:
        # A comma is how half of the world writes the point.
        return kind(typed.strip().replace(",", "."))
    except ValueError:
        raise BadInput(_(refusal).format(given=typed.strip()[:40])) from None


def served_bases() -> list[str]:
    """The base models that an engine of this installation serves."""
    return [settings.base_model if name == "*" else name for name in settings.engines]


def as_typed(project: Project) -> dict[str, str]:
    """The settings of a project as the form shows them; empty where a default or nothing holds."""
    policies = {
        **asdict(Sampling.from_json(project.sampling)),
        **asdict(Labeling.from_json(project.labeling)),
        **asdict(Retraining.from_json(project.retraining)),
        **asdict(Gates.from_json(project.gates)),
        **asdict(Serving.from_json(project.serving)),
        **asdict(Keeping.from_json(project.keeping)),
    }
    policies["criteria"] = "\n".join(policies["criteria"])
    typed = {name: _as_text(value) for name, value in policies.items()}
    return typed | {
        "name": project.name,
        "labels_per_comparison": str(project.labels_per_comparison),
        "restricted": "true" if project.restricted else "",
    }


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else ""
    return "" if value is None else str(value)


def as_copied(session: Session, project: Project) -> dict[str, str]:
    """What the form for a new project shows of the one that it is to be like; the other settings come along."""
    text = guidelines.current(session, project)
    return {
        "like": project.slug,
        "name": _("Copy of {name}").format(name=project.name),
        "base_model": project.base_model,
        "guidelines": text.text if text else "",
        "labels_per_comparison": str(project.labels_per_comparison),
    }


def changes_from(form: Mapping[str, str]) -> ProjectChanges:
    """The changes that a filled-in settings form asks for; an empty field means the default."""
    return ProjectChanges(
        name=form.get("name", ""),
        labels_per_comparison=number(form.get("labels_per_comparison", ""), int, LABELS),
        sampling={name: number(form.get(name, ""), kind, refusal) for name, (kind, refusal) in SAMPLING.items()},
        labeling={
            **{name: number(form.get(name, ""), int, refusal) for name, refusal in LABELING.items()},
            "rationale": form.get("rationale") or None,
            "order": form.get("order") or None,
            "show_agreement": bool(form.get("show_agreement")),
            "criteria": [line.strip() for line in form.get("criteria", "").splitlines() if line.strip()],
        },
        retraining={
            "every": number(form.get("every", ""), int, EVERY),
            "cron": form.get("cron", "").strip() or None,
            "quiet": form.get("quiet", "").replace(" ", "").replace("–", "-") or None,
            "timezone": form.get("timezone", "").strip() or None,
            "stop_when_wrong": bool(form.get("stop_when_wrong")) or None,
        },
        gates={
            "accuracy": number(form.get("accuracy", ""), float, ACCURACY),
            "beat_length": bool(form.get("beat_length")),
            "win_rate": number(form.get("win_rate", ""), float, WIN_RATE),
            "equal_length": bool(form.get("equal_length")),
            "kl_budget": number(form.get("kl_budget", ""), float, KL_BUDGET),
            "people": number(form.get("people", ""), int, PEOPLE),
            "people_rate": number(form.get("people_rate", ""), float, PEOPLE_RATE),
            "automatic": bool(form.get("automatic")),
        },
        serving={
            "answer_twice": number(form.get("answer_twice", ""), float, ANSWER_TWICE),
            "keep_prompts": bool(form.get("keep_prompts")),
        },
        keeping={
            "days": number(form.get("days", ""), int, DAYS),
            "newest": number(form.get("newest", ""), int, NEWEST),
        },
        restricted=bool(form.get("restricted")),
    )
