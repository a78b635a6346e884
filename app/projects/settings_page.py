"""The admins' page of a project: its settings, its members, and putting it away."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel

from app.accounts import people
from app.accounts.access import AdminOf, page_context
from app.database import Transaction
from app.errors import BadInput, Conflict
from app.labeling import golds
from app.models import ROLES
from app.models.policies import Gates, Keeping, Labeling, Retraining, Sampling, Serving
from app.projects import members, projects
from app.projects.forms import as_typed, changes_from
from app.projects.schemas import ProjectChanges
from app.templating import page

pages = APIRouter(prefix="/{slug}")

Text = Annotated[str, Form()]
Roles = Annotated[list[str], Form(default_factory=list)]


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
        "members": members.listed(session, access.project),
        "all_roles": ROLES,
        "saved": False,
        "problem": "",
        "member_problem": "",
        "email": "",
        "chosen": ["annotator"],
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


@pages.post("/members")
def let_in(request: Request, session: Transaction, access: AdminOf, roles: Roles, email: Text = "") -> Response:
    try:
        members.let_in(session, access.project, people.by_email(session, email), roles)
    except (BadInput, Conflict) as problem:
        return _settings(
            request, session, access, problem.status, member_problem=problem.message, email=email, chosen=roles
        )
    return _back_to_members(access)


@pages.post("/members/{person_id}/remove")
def remove(person_id: int, request: Request, session: Transaction, access: AdminOf) -> Response:
    try:
        members.remove(session, access.project, people.by_id(session, person_id))
    except Conflict as problem:
        return _settings(request, session, access, problem.status, member_problem=problem.message)
    return _back_to_members(access)


def _back_to_members(access: AdminOf) -> Response:
    return RedirectResponse(f"/projects/{access.project.slug}/settings#members", 303)


@pages.post("/archive")
def archive(session: Transaction, access: AdminOf) -> Response:
    projects.change(session, access.person, access.project, ProjectChanges(archived=True))
    return RedirectResponse("/projects", 303)


@pages.post("/restore")
def restore(session: Transaction, access: AdminOf) -> Response:
    projects.change(session, access.person, access.project, ProjectChanges(archived=False))
    return RedirectResponse(f"/projects/{access.project.slug}", 303)
