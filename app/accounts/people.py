"""The people of this installation: who there is, which roles they hold, who may not come in any more."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, delete, func, or_, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.passwords import hash_password
from app.accounts.sessions import sign_out_everywhere
from app.errors import BadInput, Conflict, NotFound
from app.languages import LANGUAGES, N_, _
from app.lists import Asked, Listing, page_of
from app.models import ROLES, ApiToken, Invitation, LoginSession, SignInLink, User, now

BREAKS = (0, 30, 45, 60, 90)
"""Minutes after which somebody may want to be reminded of a break; 0: never."""
LAST_ADMIN = N_("This is the last admin. Give somebody else the role admin first.")


@dataclass(frozen=True)
class Listed:
    """One line of the list of people."""

    person: User
    last_seen: datetime | None


STATES: dict[str, ColumnElement[bool]] = {
    "active": User.deactivated_at.is_(None),
    "deactivated": User.deactivated_at.is_not(None) & User.erased_at.is_(None),
    "erased": User.erased_at.is_not(None),
    "simulated": User.kind == "simulated",
}


def listed(session: Session, asked: Asked, path: str) -> Listing[Listed]:
    """A page of the people and simulated annotators, with when a browser or program of theirs was last here.

    The search is for words in names and e-mail addresses, `role:admin` and `is:deactivated`; who was erased is shown
    only where that is asked for.
    """
    browser = (
        select(func.max(LoginSession.last_seen_at))
        .where(LoginSession.user_id == User.id)
        .correlate(User)
        .scalar_subquery()
    )
    program = (
        select(func.max(ApiToken.last_used_at)).where(ApiToken.user_id == User.id).correlate(User).scalar_subquery()
    )
    seen = func.greatest(browser, program)
    words, filters = asked.parsed("role", "is")
    query = select(User, seen).where(*(STATES.get(state, true()) for state in filters["is"]))
    if "erased" not in filters["is"]:
        query = query.where(User.erased_at.is_(None))
    if filters["role"]:
        query = query.where(User.roles.contains(filters["role"]))
    for word in words:
        query = query.where(or_(*(text.icontains(word, autoescape=True) for text in (User.name, User.email))))
    columns = {
        "name": func.lower(func.coalesce(func.nullif(User.name, ""), User.email, "")),
        "email": func.lower(func.coalesce(User.email, "")),
        "seen": func.coalesce(seen, datetime(1970, 1, 1, tzinfo=UTC)),
        "since": User.created_at,
    }
    return page_of(session, query, User.id, columns, asked, path, "name", make=Listed)


def by_id(session: Session, person_id: int) -> User:
    """The person with this id; raises NotFound."""
    person = session.get(User, person_id)
    if person is None:
        raise NotFound(_("There is no such person."))
    return person


def by_email(session: Session, email: str) -> User:
    """The person with this e-mail address, in whatever case; BadInput where there is none."""
    person = session.scalar(select(User).where(func.lower(User.email) == email.strip().lower()))
    if person is None:
        raise BadInput(
            _("Nobody here has the e-mail address {email}. Invite them under People first.").format(email=email.strip())
        )
    return person


def checked_roles(roles: Iterable[str]) -> list[str]:
    """The roles in their usual order, each once; BadInput for one that does not exist."""
    wanted = set(roles)
    unknown = sorted(wanted - set(ROLES))
    if unknown:
        raise BadInput(
            _("There is no role {unknown!r}. The roles are {known}.").format(unknown=unknown[0], known=", ".join(ROLES))
        )
    return [role for role in ROLES if role in wanted]


def checked_name(name: str) -> str:
    """A name without blanks around it; BadInput where it is longer than a line."""
    if len(name.strip()) > 200:
        raise BadInput(_("Choose a name of at most 200 characters."))
    return " ".join(name.split())


def choose_language(person: User, language: str) -> None:
    """The language that a person reads the pages in, None for nothing chosen; BadInput where there is no such one."""
    if language and language not in LANGUAGES:
        raise BadInput(_("There is no such language here. Choose one of those on your page."))
    person.language = language or None


def choose_break(person: User, minutes: int) -> None:
    """After how many minutes of steady labelling a person is reminded of a break, 0 for never; BadInput."""
    if minutes not in BREAKS:
        raise BadInput(_("There is no such time for a break. Choose one of those on your page."))
    person.break_after = minutes


def checked_email(email: str) -> str:
    """An e-mail address in lower case; BadInput where it cannot be one."""
    email = email.strip().lower()
    name, _at, domain = email.partition("@")
    if not name or not domain or len(email) > 254 or any(character.isspace() for character in email):
        raise BadInput(
            _("{email!r} is not an e-mail address. Write it like name@example.org.").format(email=email[:254])
        )
    return email


def create_user(
    session: Session, email: str, roles: Iterable[str], password: str | None, kind: str = "person", name: str = ""
) -> User:
    """Make a person, or a simulated annotator (`kind`); without a password only an API token can sign them in."""
    email = checked_email(email)
    person = User(
        email=email,
        name=checked_name(name),
        roles=checked_roles(roles),
        kind=kind,
        password_hash=None if password is None else hash_password(password),
    )
    try:
        with session.begin_nested():
            session.add(person)
    except IntegrityError as taken:
        raise BadInput(
            _("Somebody with the e-mail address {email} is here already. Sign in, or use another.").format(email=email)
        ) from taken
    return person


def change_roles(session: Session, person: User, roles: Iterable[str]) -> None:
    """Give a person these global roles instead of the ones they had."""
    wanted = checked_roles(roles)
    if "admin" not in wanted:
        keep_an_admin(session, person)
    _still_somebody(person)
    if wanted != person.roles:
        audit.record(session, "roles_changed", about=person, changes={"roles": [person.roles, wanted]})
    person.roles = wanted


def deactivate(session: Session, person: User) -> None:
    """Close the door: no session, token or open invitation of theirs works any more. What they answered stays."""
    keep_an_admin(session, person)
    if person.deactivated_at is None:
        person.deactivated_at = now()
        audit.record(session, "deactivated", about=person)
    sign_out_everywhere(session, person)
    session.execute(delete(SignInLink).where(SignInLink.user_id == person.id))
    session.execute(
        update(ApiToken).where(ApiToken.user_id == person.id, ApiToken.revoked_at.is_(None)).values(revoked_at=now())
    )
    session.execute(
        update(Invitation)
        .where(Invitation.invited_by_id == person.id, Invitation.used_at.is_(None), Invitation.revoked_at.is_(None))
        .values(revoked_at=now())
    )


def reactivate(session: Session, person: User) -> None:
    """Open the door again; they sign in anew and make new tokens."""
    _still_somebody(person)
    if person.deactivated_at is not None:
        person.deactivated_at = None
        audit.record(session, "reactivated", about=person)


def _still_somebody(person: User) -> None:
    if person.erased_at is not None:
        raise Conflict(_("This person was erased. Invite them anew; what they answered before stays nobody's."))


def keep_an_admin(session: Session, person: User) -> None:
    """Raise Conflict where nobody else is an admin who can sign in."""
    # Locked, so that two admins who remove each other in the same moment do not both succeed.
    admins = session.scalars(
        select(User.id)
        .where(User.roles.contains(["admin"]), User.kind == "person", User.deactivated_at.is_(None))
        .order_by(User.id)
        .with_for_update()
    ).all()
    if list(admins) == [person.id]:
        raise Conflict(_(LAST_ADMIN))
