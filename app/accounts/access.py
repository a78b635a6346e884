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
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session, joinedload

from app import languages
from app.database import Transaction
from app.errors import NotAllowed, NotFound, SignInNeeded
from app.languages import _
from app.models import ApiToken, LoginSession, Membership, Project, User, now

COOKIE = "pairloop_session"
SESSION_LASTS = timedelta(days=30)


def token_hash(token: str) -> bytes:
    """What the database keeps of a secret link, cookie or bearer token."""
    return hashlib.sha256(token.encode()).digest()


def anyone() -> None:
    """The guard of public routes: says on purpose that everybody may."""


def signed_in(request: Request, session: Transaction) -> User:
    """The active person behind the bearer token or the session cookie; raises SignInNeeded."""
    person = signed_in_if_any(request, session)
    if person is None:
        raise SignInNeeded
    return person


def signed_in_if_any(request: Request, session: Session) -> User | None:
    """The same for public pages, which greet whom they know: None instead of an error."""
    person = _by_bearer_token(request, session) or _by_cookie(request, session)
    if person is not None and person.deactivated_at is not None:
        person = None
    # Whatever this transaction changes, the audit log says that they did it.
    session.info["person"] = person
    if person is None:
        return None
    request.state.person = person
    languages.speak(person.language)
    return person


def _by_bearer_token(request: Request, session: Session) -> User | None:
    scheme, _space, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return None
    found = session.scalar(
        select(ApiToken)
        .options(joinedload(ApiToken.user))
        .where(ApiToken.token_hash == token_hash(token.strip()), ApiToken.revoked_at.is_(None))
    )
    if found is None:
        return None
    # Once a minute is exact enough for people to see which token is still in use.
    if found.last_used_at is None or now() - found.last_used_at > timedelta(minutes=1):
        found.last_used_at = now()
    request.state.api_token = found
    return found.user


def token_of(request: Request) -> ApiToken | None:
    """The API token that the request was signed in with, after its guard; None for a browser."""
    found: ApiToken | None = getattr(request.state, "api_token", None)
    return found


def _by_cookie(request: Request, session: Session) -> User | None:
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    found = session.scalar(
        select(LoginSession)
        .options(joinedload(LoginSession.user))
        .where(LoginSession.token_hash == token_hash(token), LoginSession.expires_at > now())
    )
    if found is None:
        return None
    if now() - found.last_seen_at > timedelta(minutes=5):
        found.last_seen_at = now()
    return found.user


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
    mine = (Membership.project_id == Project.id) & (Membership.user_id == person.id)
    # One query, because every request of the label page asks it.
    found = session.execute(
        select(Project, Membership.roles).outerjoin(Membership, mine).where(Project.slug == slug)
    ).first()
    if found is None:
        raise NotFound(_("There is no project {slug!r} that you may see.").format(slug=slug))
    return _checked(person, found.Project, _roles(person, found.Project, found.roles), needed)


def may(session: Session, person: User, project: Project, needed: str | None) -> Access:
    """What a guard checks, for nouns that found the project another way (an assignment's, a run's)."""
    return _checked(person, project, roles_in(session, person, project), needed)


def _checked(person: User, project: Project, roles: set[str], needed: str | None) -> Access:
    if not roles and project.restricted:
        raise NotFound(_("There is no project {slug!r} that you may see.").format(slug=project.slug))
    if needed is not None and needed not in roles:
        raise NotAllowed(
            _("This needs the role {needed} in this project. Ask an admin to give it to you.").format(needed=_(needed))
        )
    return Access(person, project, frozenset(roles))


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


def _project_guard(needed: str | None) -> Callable[[str, User, Session], Access]:
    def guard(slug: str, person: Person, session: Transaction) -> Access:
        return find_project(session, person, slug, needed)

    return guard


MemberOf = Annotated[Access, Depends(_project_guard(None))]
AnnotatorOf = Annotated[Access, Depends(_project_guard("annotator"))]
AdminOf = Annotated[Access, Depends(_project_guard("admin"))]
OperatorOf = Annotated[Access, Depends(_project_guard("operator"))]

GUARDS: set[Callable[..., object]] = {anyone, signed_in}
"""Every route's dependencies contain one of these (tests/test_routes.py walks them all)."""
