"""The admins' page of a project: its settings, and putting it away."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel

from app.accounts.access import AdminOf, page_context
from app.database import Transaction
from app.errors import BadInput
from app.labeling import golds
from app.models.policies import Gates, Keeping, Labeling, Retraining, Sampling, Serving
from app.projects import projects
from app.projects.forms import as_typed, changes_from
from app.projects.schemas import ProjectChanges
from app.templating import page

pages = APIRouter(prefix="/{slug}")


class Typed(BaseModel):
    """The settings form as it was sent: everything is text until it is checked."""

    name: str = ""
    labels_per_comparison: str = ""
    temperature: str = ""
    top_p: str = ""
    max_tokens: str = ""
    stock: str = ""
    full_distribution: str = ""
    strengths: str = ""
    rationale: str = ""
    criteria: str = ""
    repeats: str = ""
    order: str = ""
    gold: str = ""
    own_repeats: str = ""
    qualification: str = ""
    qualification_share: str = ""
    show_agreement: str = ""
    every: str = ""
    cron: str = ""
    quiet: str = ""
    timezone: str = ""
    stop_when_wrong: str = ""
    accuracy: str = ""
    beat_length: str = ""
    win_rate: str = ""
    equal_length: str = ""
    kl_budget: str = ""
    people: str = ""
    people_rate: str = ""
    automatic: str = ""
    answer_twice: str = ""
    keep_prompts: str = ""
    days: str = ""
    newest: str = ""
    restricted: str = ""


def _settings(request: Request, session: Transaction, access: AdminOf, status: int = 200, **values: Any) -> Response:
    shown = {
        "typed": as_typed(access.project),
        "defaults": _defaults(),
        "golds": golds.count(session, access.project),
        "policy": Labeling.from_json(access.project.labeling),
        "saved": False,
        "problem": "",
    }
    return page(request, "projects/settings.html", page_context(access, "settings") | shown | values, status=status)


def _defaults() -> dict[str, Any]:
    policies = (Sampling(), Labeling(), Retraining(), Gates(), Serving(), Keeping())
    return {name: value for policy in policies for name, value in policy.to_json().items()}


@pages.get("/settings")
def settings_page(request: Request, session: Transaction, access: AdminOf, saved: bool = False) -> Response:
    return _settings(request, session, access, saved=saved)


@pages.post("/settings")
def change_settings(
    request: Request, session: Transaction, access: AdminOf, typed: Annotated[Typed, Form()]
) -> Response:
    try:
        projects.change(session, access.person, access.project, changes_from(typed.model_dump()))
    except BadInput as problem:
        return _settings(request, session, access, problem.status, typed=typed.model_dump(), problem=problem.message)
    return RedirectResponse(f"/projects/{access.project.slug}/settings?saved=true", 303)


@pages.post("/archive")
def archive(session: Transaction, access: AdminOf) -> Response:
    projects.change(session, access.person, access.project, ProjectChanges(archived=True))
    return RedirectResponse("/projects", 303)


@pages.post("/restore")
def restore(session: Transaction, access: AdminOf) -> Response:
    projects.change(session, access.person, access.project, ProjectChanges(archived=False))
    return RedirectResponse(f"/projects/{access.project.slug}", 303)
