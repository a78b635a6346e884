"""The admins' pages about people: who is here, who may do what, who may come in again, who is to be forgotten."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import abilities, downloads, erasure, people, personal_data, sign_in_links
from app.accounts.access import Admin
from app.accounts.invitation_pages import address
from app.accounts.invitation_pages import pages as invitation_pages
from app.database import Transaction
from app.errors import BadInput, Conflict
from app.lists import Asked
from app.models import ROLES
from app.templating import page

pages = APIRouter(prefix="/people")
pages.include_router(invitation_pages)

Text = Annotated[str, Form()]
Roles = Annotated[list[str], Form(default_factory=list)]


@pages.get("")
def people_page(request: Request, session: Transaction, admin: Admin, asked: Annotated[Asked, Query()]) -> Response:
    return page(request, "accounts/people.html", {"listing": people.listed(session, asked, "/people")})


@pages.get("/{person_id}")
def one_person_page(person_id: int, request: Request, session: Transaction, admin: Admin) -> Response:
    return _one(request, session, person_id)


def _one(request: Request, session: Transaction, person_id: int, status: int = 200, **values: Any) -> Response:
    shown = {
        "other": people.by_id(session, person_id),
        "all_roles": ROLES,
        "new_link": None,
        "problem": "",
        "problem_with": "",
    }
    return page(request, "accounts/one_person.html", {**shown, **values}, status=status)


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
        return _one(request, session, person_id, problem.status, problem=problem.message)
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
        return _one(request, session, person_id, problem.status, problem=problem.message)
    return RedirectResponse(f"/people/{person_id}", 303)


@pages.post("/{person_id}/sign-in-link")
def reset_sign_in(person_id: int, request: Request, session: Transaction, admin: Admin) -> Response:
    try:
        token = sign_in_links.reset(session, admin, people.by_id(session, person_id))
    except Conflict as problem:
        return _one(request, session, person_id, problem.status, problem=problem.message)
    return _one(request, session, person_id, 201, new_link=address(request, f"/sign-in-links/{token}"))


@pages.post("/{person_id}/deactivate")
def deactivate(person_id: int, request: Request, session: Transaction, admin: Admin) -> Response:
    try:
        people.deactivate(session, people.by_id(session, person_id))
    except Conflict as problem:
        return _one(request, session, person_id, problem.status, problem=problem.message)
    return RedirectResponse("/people", 303)


@pages.post("/{person_id}/reactivate")
def reactivate(person_id: int, session: Transaction, admin: Admin) -> Response:
    people.reactivate(session, people.by_id(session, person_id))
    return RedirectResponse("/people", 303)


@pages.get("/{person_id}/data")
def take_personal_data(person_id: int, session: Transaction, admin: Admin) -> Response:
    parts = personal_data.text(session, people.by_id(session, person_id))
    return downloads.send(parts, f"person-{person_id}.json", "application/json")


@pages.post("/{person_id}/erase")
def erase(person_id: int, request: Request, session: Transaction, admin: Admin, email: Text = "") -> Response:
    try:
        erasure.erase(session, people.by_id(session, person_id), email)
    except (BadInput, Conflict) as problem:
        return _one(request, session, person_id, problem.status, problem=problem.message, problem_with="erase")
    return RedirectResponse(f"/people/{person_id}", 303)
