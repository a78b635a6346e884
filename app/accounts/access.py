"""Guards: who is asking, and may they? Every route declares exactly one of these, or `anyone`.

    def label_page(access: AnnotatorOf, …)      # a member of the project in the path ({slug}) who annotates
    def start_run(access: OperatorOf, …)
    def tokens_page(person: Person, …)          # anybody signed in
    dependencies=[Depends(anyone)]              # the public pages, said so

A guard answers 401 when nobody is signed in, 404 where a project does not exist or is not theirs to see, 403 where only
the role is missing.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Request
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    LargeBinary,
    Row,
    ScalarSelect,
    Select,
    Text,
    bindparam,
    false,
    or_,
    select,
)
from sqlalchemy.orm import Session

from app import languages
from app.database import Transaction
from app.errors import NotAllowed, NotFound, SignInNeeded
from app.languages import _
from app.models import ApiToken, Assignment, LoginSession, Membership, Project, User, now

COOKIE = "pairloop_session"
SESSION_LASTS = timedelta(days=30)

_PERSON = bindparam("person", type_=BigInteger)
ROLES_HERE: ScalarSelect[list[str]] = (
    select(Membership.roles)
    .where(Membership.project_id == Project.id, Membership.user_id == _PERSON)
    .correlate(Project)
    .scalar_subquery()
)
"""A person's own roles in the project of a query, or NULL; the query is given them as `person`."""
_PROJECT = select(Project, ROLES_HERE).where(Project.slug == bindparam("slug", type_=Text))
_HELD = select(Assignment.project_id).where(
    Assignment.id == bindparam("assignment", type_=BigInteger), Assignment.user_id == User.id
)
_WHERE: dict[str, ColumnElement[bool]] = {
    "nowhere": false(),
    "project": Project.slug == bindparam("slug", type_=Text),
    "assignment": Project.id == _HELD.correlate(User).scalar_subquery(),
}
"""Which project a request is about: none, the one that it names, or that of a person's own assignment."""
Where = Literal["nowhere", "project", "assignment"]
Known = Row[ApiToken | LoginSession, User, Project | None, list[str] | None]


def token_hash(token: str) -> bytes:
    """What the database keeps of a secret link, cookie or bearer token."""
    return hashlib.sha256(token.encode()).digest()


async def anyone() -> None:
    """The guard of public routes: says on purpose that everybody may."""


def signed_in(request: Request, session: Transaction) -> User:
    """The active person behind the bearer token or the session cookie; raises SignInNeeded."""
    person = getattr(request.state, "person", None) or signed_in_if_any(request, session)
    if person is None:
        raise SignInNeeded
    return person


def signed_in_if_any(request: Request, session: Session) -> User | None:
    """The same for public pages, which greet whom they know: None instead of an error."""
    known = _known(request, session, "nowhere", {})
    return known[0] if known is not None else None


def _known(
    request: Request, session: Session, where: Where, named: dict[str, object]
) -> tuple[User, Project | None, list[str] | None] | None:
    """Who asks and, in the same query, the project that it is about with their own roles in it."""
    found = _by_bearer_token(request, session, where, named) or _by_cookie(request, session, where, named)
    known = None if found is None or found[1].deactivated_at is not None else (found[1], found[2], found[3])
    # Whatever this transaction changes, the audit log says that they did it.
    session.info["person"] = known and known[0]
    if known is not None:
        request.state.person = known[0]
        languages.speak(known[0].language)
    return known


def _by_bearer_token(request: Request, session: Session, where: Where, named: dict[str, object]) -> Known | None:
    scheme, _space, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return None
    found = session.execute(_who(ApiToken, where), {**named, "token": token_hash(token.strip())}).first()
    if found is None:
        return None
    known = found[0]
    # Once a minute is exact enough for people to see which token is still in use.
    if known.last_used_at is None or now() - known.last_used_at > timedelta(minutes=1):
        known.last_used_at = now()
    request.state.api_token = known
    return found


def token_of(request: Request) -> ApiToken | None:
    """The API token that the request was signed in with, after its guard; None for a browser."""
    found: ApiToken | None = getattr(request.state, "api_token", None)
    return found


def _by_cookie(request: Request, session: Session, where: Where, named: dict[str, object]) -> Known | None:
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    asked = {**named, "token": token_hash(token), "moment": now()}
    found = session.execute(_who(LoginSession, where), asked).first()
    if found is None:
        return None
    known = found[0]
    if now() - known.last_seen_at > timedelta(minutes=5):
        known.last_seen_at = now()
    return found


@cache
def _who(by: type[ApiToken] | type[LoginSession], where: Where) -> Select[Any, User, Project, list[str]]:
    """The question of every request, built once for each way of asking it."""
    roles = select(Membership.roles).where(Membership.project_id == Project.id, Membership.user_id == User.id)
    works = ApiToken.revoked_at.is_(None) if by is ApiToken else LoginSession.expires_at > bindparam("moment")
    return (
        select(by, User, Project, roles.correlate(Project, User).scalar_subquery())
        .join(User, User.id == by.user_id)
        .outerjoin(Project, _WHERE[where])
        .where(by.token_hash == bindparam("token", type_=LargeBinary), works)
    )


Person = Annotated[User, Depends(signed_in)]
"""Anybody signed in."""


def role(name: str) -> Callable[[User], User]:
    """A guard for a global role, for pages that belong to no project."""

    def guard(person: Person) -> User:
        if name not in person.roles:
            raise NotAllowed(_("This needs the role {name}. Ask an admin to give it to you.").format(name=_(name)))
        return person

    return guard


Admin = Annotated[User, Depends(role("admin"))]
Operator = Annotated[User, Depends(role("operator"))]


@dataclass(frozen=True)
class Access:
    """A person who may do what the route does in this project, with all the roles that they hold in it."""

    person: User
    project: Project
    roles: frozenset[str] = frozenset()


def roles_in(session: Session, person: User, project: Project) -> set[str]:
    """A person's own roles in a project, and the global ones unless the project is restricted to its members."""
    own = session.scalar(
        select(Membership.roles).where(Membership.project_id == project.id, Membership.user_id == person.id)
    )
    return _roles(person, project, own)


def _roles(person: User, project: Project, own: list[str] | None) -> set[str]:
    return set(own or ()) | (set() if project.restricted else set(person.roles))


def find_project(session: Session, person: User, slug: str, needed: str | None) -> Access:
    """Fetch and authorise in one call; `needed` None: anybody who may see it. Missing and hidden both say 404."""
    found = session.execute(_PROJECT, {"slug": slug, "person": person.id}).first()
    if found is None:
        raise _no_project(slug)
    return allow(person, *found, needed)


def may(session: Session, person: User, project: Project, needed: str | None) -> Access:
    """What a guard checks, for nouns that found the project another way (an assignment's, a run's)."""
    own = session.scalar(select(ROLES_HERE).select_from(Project).where(Project.id == project.id), {"person": person.id})
    return allow(person, project, own, needed)


def allow(person: User, project: Project, own: list[str] | None, needed: str | None) -> Access:
    """What somebody may do in a project where `own` are their roles; NotFound where they may not even see it."""
    roles = _roles(person, project, own)
    if not roles and project.restricted:
        raise _no_project(project.slug)
    if needed is not None and needed not in roles:
        raise NotAllowed(
            _("This needs the role {needed} in this project. Ask an admin to give it to you.").format(needed=_(needed))
        )
    return Access(person, project, frozenset(roles))


def _no_project(slug: str) -> NotFound:
    return NotFound(_("There is no project {slug!r} that you may see.").format(slug=slug))


def page_context(access: Access, section: str) -> dict[str, Any]:
    """What base.html's navigation needs on every page of a project; `section` is the last part of the address."""
    return {"project": access.project, "project_roles": access.roles, "section": section}


def is_visible_to(person: User) -> ColumnElement[bool]:
    """Which projects a person may see: all but those restricted to members among whom they are not."""
    mine = select(Membership.project_id).where(Membership.user_id == person.id)
    return or_(Project.restricted.is_(False), Project.id.in_(mine))


def visible_projects(session: Session, person: User) -> list[Project]:
    """The projects a person may see, by name; archived ones last."""
    by_name = select(Project).order_by(Project.archived_at.is_not(None), Project.name, Project.id)
    return list(session.scalars(by_name.where(is_visible_to(person))))


GUARDS: set[Callable[..., object]] = {anyone, signed_in}
"""Every route's dependencies contain one of these or of the project's (tests/test_routes.py walks them all)."""


def _project_guard(needed: str | None) -> Callable[[str, Request, Session], Access]:
    # It asks who it is itself: a guard of its own would be one more question, and one more way to a thread and back.
    def guard(slug: str, request: Request, session: Transaction) -> Access:
        known = _known(request, session, "project", {"slug": slug})
        if known is None:
            raise SignInNeeded
        person, project, own = known
        if project is None:
            raise _no_project(slug)
        return allow(person, project, own, needed)

    GUARDS.add(guard)
    return guard


def holder(id: Annotated[int, Path(ge=1, lt=2**63)], request: Request, session: Transaction) -> Access:
    """The guard of routes about one's own assignment ({id}): somebody who annotates in its project."""
    known = _known(request, session, "assignment", {"assignment": id})
    if known is None:
        raise SignInNeeded
    person, project, own = known
    if project is None:
        raise NotFound(_("There is no such assignment, or it is not yours. Claim one first."))
    return allow(person, project, own, "annotator")


GUARDS.add(holder)

MemberOf = Annotated[Access, Depends(_project_guard(None))]
AnnotatorOf = Annotated[Access, Depends(_project_guard("annotator"))]
AdminOf = Annotated[Access, Depends(_project_guard("admin"))]
OperatorOf = Annotated[Access, Depends(_project_guard("operator"))]
HolderOf = Annotated[Access, Depends(holder)]
