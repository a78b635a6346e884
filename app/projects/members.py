"""Members: roles in one project, which decide alone where the project is restricted to its members."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.people import checked_roles
from app.errors import BadInput, Conflict
from app.languages import N_, _
from app.lists import Asked, Listing, page_of
from app.models import Membership, Project, User

LAST_ADMIN = N_(
    "This is the last admin of a restricted project. Make another member admin first, or lift the restriction."
)


@dataclass(frozen=True)
class Member:
    """A person and their roles in the project."""

    person: User
    roles: list[str]
    since: datetime


def listed(session: Session, project: Project, asked: Asked | None = None, path: str = "") -> Listing[Member]:
    """A page of the members, by name; the search is for words in names and addresses, and `role:admin`."""
    asked = asked or Asked()
    words, filters = asked.parsed("role")
    query = (
        select(User, Membership.roles, Membership.created_at)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.project_id == project.id)
    )
    if filters["role"]:
        query = query.where(Membership.roles.contains(filters["role"]))
    for word in words:
        query = query.where(or_(*(text.icontains(word, autoescape=True) for text in (User.name, User.email))))
    columns = {
        "name": func.lower(func.coalesce(func.nullif(User.name, ""), User.email, "")),
        "since": Membership.created_at,
    }
    return page_of(session, query, User.id, columns, asked, path, "name", make=Member)


def let_in(session: Session, project: Project, person: User, roles: Iterable[str]) -> None:
    """Give a person these roles in the project instead of the ones they had there."""
    wanted = checked_roles(roles)
    if not wanted:
        raise BadInput(_("Choose at least one role, or remove the member."))
    if "admin" not in wanted:
        _keep_an_admin(session, project, person)
    before = _roles(session, project, person)
    if wanted != before:
        audit.record(session, "member_let_in", about=person, project=project, changes={"roles": [before, wanted]})
    session.execute(
        insert(Membership)
        .values(project_id=project.id, user_id=person.id, roles=wanted)
        .on_conflict_do_update(index_elements=["project_id", "user_id"], set_={"roles": wanted})
    )


def remove(session: Session, project: Project, person: User) -> None:
    """Take a person's roles in the project away; their global ones stay."""
    _keep_an_admin(session, project, person)
    if before := _roles(session, project, person):
        audit.record(session, "member_removed", about=person, project=project, roles=before)
    session.execute(delete(Membership).where(Membership.project_id == project.id, Membership.user_id == person.id))


def _roles(session: Session, project: Project, person: User) -> list[str] | None:
    mine = Membership.project_id == project.id, Membership.user_id == person.id
    return session.scalar(select(Membership.roles).where(*mine))


def has_admin(session: Session, project: Project, but: User | None = None) -> bool:
    """Whether a member who can still sign in may change the project, `but` this one not counted."""
    admins = (
        exists()
        .where(Membership.project_id == project.id, Membership.roles.contains(["admin"]))
        .where(Membership.user_id == User.id, User.deactivated_at.is_(None))
    )
    if but is not None:
        admins = admins.where(User.id != but.id)
    return bool(session.scalar(select(admins)))


def _keep_an_admin(session: Session, project: Project, person: User) -> None:
    # Locked, so that two admins who remove each other in the same moment do not both succeed.
    session.refresh(project, with_for_update=True)
    if project.restricted and not has_admin(session, project, but=person):
        raise Conflict(_(LAST_ADMIN))
