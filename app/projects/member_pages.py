"""Who works in a project: its members and the invitations into it, as a page for its admins and as JSON."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts import invitations, people
from app.accounts.access import AdminOf, page_context
from app.accounts.invitation_pages import DAYS, address
from app.database import Transaction
from app.errors import BadInput, Conflict
from app.lists import Asked
from app.models import ROLES, User
from app.projects import members
from app.projects.schemas import MemberList, MemberRoles, ShownMember
from app.templating import page

pages = APIRouter(prefix="/{slug}/members")
api = APIRouter(prefix="/{slug}/members")

Text = Annotated[str, Form()]
Roles = Annotated[list[str], Form(default_factory=list)]


def _members(
    request: Request, session: Transaction, access: AdminOf, asked: Asked, status: int = 200, **values: Any
) -> Response:
    path = f"/projects/{access.project.slug}/members"
    shown = {
        "found": members.listed(session, access.project, asked, path),
        "listing": invitations.listed(session, Asked(), path, access.project),
        "all_roles": ROLES,
        "days": DAYS,
        "new_link": None,
        "typed": {"email": "", "days": invitations.LASTS},
        "chosen": ["annotator"],
        "problem": "",
    }
    return page(request, "projects/members.html", page_context(access, "settings") | shown | values, status=status)


@pages.get("")
def members_page(request: Request, session: Transaction, access: AdminOf, asked: Annotated[Asked, Query()]) -> Response:
    return _members(request, session, access, asked)


@pages.post("")
def let_in(request: Request, session: Transaction, access: AdminOf, roles: Roles, email: Text = "") -> Response:
    try:
        members.let_in(session, access.project, people.by_email(session, email), roles)
    except (BadInput, Conflict) as problem:
        typed = {"email": email, "days": invitations.LASTS}
        return _members(
            request, session, access, Asked(), problem.status, problem=problem.message, typed=typed, chosen=roles
        )
    return _back(access)


@pages.post("/{person_id}/remove")
def remove(person_id: int, request: Request, session: Transaction, access: AdminOf) -> Response:
    try:
        members.remove(session, access.project, people.by_id(session, person_id))
    except Conflict as problem:
        return _members(request, session, access, Asked(), problem.status, problem=problem.message)
    return _back(access)


@pages.post("/invitations")
def invite(
    request: Request,
    session: Transaction,
    access: AdminOf,
    roles: Roles,
    email: Text = "",
    days: Annotated[int, Form()] = invitations.LASTS,
) -> Response:
    """A link into this project alone; it gives no roles elsewhere."""
    typed = {"email": email, "days": days}
    try:
        token = invitations.invite(
            session, access.person, [], email, project=access.project, project_roles=roles, days=days
        )
    except BadInput as problem:
        return _members(
            request, session, access, Asked(), problem.status, problem=problem.message, typed=typed, chosen=roles
        )
    link = address(request, f"/invitations/{token}")
    return _members(request, session, access, Asked(), 201, new_link=link, typed=typed | {"email": ""})


@pages.post("/invitations/{invitation_id}/revoke")
def revoke(invitation_id: int, session: Transaction, access: AdminOf) -> Response:
    invitations.revoke(session, invitation_id, access.project)
    return _back(access)


def _back(access: AdminOf) -> Response:
    return RedirectResponse(f"/projects/{access.project.slug}/members", 303)


@api.get("")
def list_members(session: Transaction, access: AdminOf, asked: Annotated[Asked, Query()]) -> MemberList:
    """The members by name; `q` searches names and addresses, and `role:admin`."""
    found = members.listed(session, access.project, asked)
    return MemberList(items=[_shown(one.person, one.roles) for one in found.rows], next=found.next)


@api.put("")
def put_member(session: Transaction, access: AdminOf, member: MemberRoles) -> ShownMember:
    """Give somebody who has an account these roles in the project, instead of those they had there."""
    person = people.by_email(session, member.email)
    members.let_in(session, access.project, person, member.roles)
    return _shown(person, people.checked_roles(member.roles))


@api.delete("", status_code=204)
def delete_member(session: Transaction, access: AdminOf, email: str) -> Response:
    """Take somebody's roles in the project away; doing it twice is fine."""
    members.remove(session, access.project, people.by_email(session, email))
    return Response(status_code=204)


def _shown(person: User, roles: list[str]) -> ShownMember:
    return ShownMember(
        person=str(person.id),
        email=person.email,
        name=person.name,
        roles=roles,
        deactivated=person.deactivated_at is not None,
    )
