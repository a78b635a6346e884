"""The admins' page about invitations: made, looked through, taken back."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import invitations
from app.accounts.access import Admin, find_project, roles_in, visible_projects
from app.database import Transaction
from app.errors import BadInput
from app.lists import Asked
from app.models import ROLES
from app.settings import settings
from app.templating import page

pages = APIRouter(prefix="/invitations")

Text = Annotated[str, Form()]
Roles = Annotated[list[str], Form(default_factory=list)]
DAYS = (1, 7, 30)


def address(request: Request, path: str) -> str:
    """The whole address of a page, as other people have to type it."""
    return (settings.public_url or str(request.base_url)).rstrip("/") + path


def _page(
    request: Request, session: Transaction, admin: Admin, asked: Asked, status: int = 200, **values: Any
) -> Response:
    shown = {
        "listing": invitations.listed(session, asked, "/people/invitations"),
        "projects": [one for one in visible_projects(session, admin) if "admin" in roles_in(session, admin, one)],
        "all_roles": ROLES,
        "days": DAYS,
        "new_link": None,
        "typed": {"email": "", "project": "", "days": invitations.LASTS},
        "chosen": ["annotator"],
        "chosen_there": [],
        "problem": "",
    }
    return page(request, "accounts/invitations.html", {**shown, **values}, status=status)


@pages.get("")
def invitations_page(
    request: Request, session: Transaction, admin: Admin, asked: Annotated[Asked, Query()]
) -> Response:
    return _page(request, session, admin, asked)


@pages.post("")
def invite(
    request: Request,
    session: Transaction,
    admin: Admin,
    roles: Roles,
    project_roles: Roles,
    email: Text = "",
    project: Text = "",
    days: Annotated[int, Form()] = invitations.LASTS,
) -> Response:
    typed = {"email": email, "project": project, "days": days}
    try:
        there = find_project(session, admin, project, "admin").project if project else None
        token = invitations.invite(session, admin, roles, email, project=there, project_roles=project_roles, days=days)
    except BadInput as problem:
        values = {"typed": typed, "chosen": roles, "chosen_there": project_roles, "problem": problem.message}
        return _page(request, session, admin, Asked(), problem.status, **values)
    return _page(
        request,
        session,
        admin,
        Asked(),
        201,
        new_link=address(request, f"/invitations/{token}"),
        typed=typed | {"email": ""},
    )


@pages.post("/{invitation_id}/revoke")
def revoke_invitation(invitation_id: int, session: Transaction, admin: Admin) -> Response:
    invitations.revoke(session, invitation_id)
    return RedirectResponse("/people/invitations", 303)
