"""The admins' page about people: who is here, who is invited, who may do what."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import abilities, invitations, people
from app.accounts.access import Admin
from app.database import Transaction
from app.errors import BadInput, Conflict
from app.models import ROLES
from app.settings import settings
from app.templating import page

pages = APIRouter(prefix="/people")

Text = Annotated[str, Form()]
Roles = Annotated[list[str], Form(default_factory=list)]


def address(request: Request, path: str) -> str:
    """The whole address of a page, as other people have to type it."""
    return (settings.public_url or str(request.base_url)).rstrip("/") + path


def _people(request: Request, session: Transaction, status: int = 200, **values: Any) -> Response:
    shown = {
        "everybody": people.everybody(session),
        "invitations": invitations.open_invitations(session),
        "all_roles": ROLES,
        "new_link": None,
        "email": "",
        "chosen": ["annotator"],
        "problem": "",
    }
    return page(request, "accounts/people.html", {**shown, **values}, status=status)


@pages.get("")
def people_page(request: Request, session: Transaction, admin: Admin) -> Response:
    return _people(request, session)


@pages.post("/invitations")
def invite(
    request: Request,
    session: Transaction,
    admin: Admin,
    roles: Roles,
    email: Text = "",
) -> Response:
    try:
        token = invitations.invite(session, admin, roles, email)
    except BadInput as problem:
        return _people(request, session, problem.status, problem=problem.message, email=email, chosen=roles)
    return _people(request, session, 201, new_link=address(request, f"/invitations/{token}"))


@pages.post("/invitations/{invitation_id}/revoke")
def revoke_invitation(invitation_id: int, session: Transaction, admin: Admin) -> Response:
    invitations.revoke(session, invitation_id)
    return RedirectResponse("/people", 303)


@pages.get("/{person_id}")
def one_person_page(person_id: int, request: Request, session: Transaction, admin: Admin) -> Response:
    return _one(request, session, person_id)


def _one(request: Request, session: Transaction, person_id: int, problem: str = "", status: int = 200) -> Response:
    values = {"other": people.by_id(session, person_id), "all_roles": ROLES, "problem": problem}
    return page(request, "accounts/one_person.html", values, status=status)


@pages.post("/{person_id}/roles")
def change_roles(
    person_id: int,
    request: Request,
    session: Transaction,
    admin: Admin,
    roles: Roles,
) -> Response:
    try:
        people.change_roles(session, people.by_id(session, person_id), roles)
    except (BadInput, Conflict) as problem:
        return _one(request, session, person_id, problem.message, problem.status)
    return RedirectResponse("/people", 303)


@pages.post("/{person_id}/abilities")
def change_abilities(
    person_id: int,
    request: Request,
    session: Transaction,
    admin: Admin,
    everything: Annotated[bool, Form()] = False,
    only: Text = "",
) -> Response:
    try:
        abilities.change(session, people.by_id(session, person_id), None if everything else only.split(","))
    except BadInput as problem:
        return _one(request, session, person_id, problem.message, problem.status)
    return RedirectResponse(f"/people/{person_id}", 303)


@pages.post("/{person_id}/deactivate")
def deactivate(person_id: int, request: Request, session: Transaction, admin: Admin) -> Response:
    try:
        people.deactivate(session, people.by_id(session, person_id))
    except Conflict as problem:
        return _one(request, session, person_id, problem.message, problem.status)
    return RedirectResponse("/people", 303)


@pages.post("/{person_id}/reactivate")
def reactivate(person_id: int, session: Transaction, admin: Admin) -> Response:
    people.reactivate(session, people.by_id(session, person_id))
    return RedirectResponse("/people", 303)
