"""Invitations: links that let one person in each, here or into a project too; the first person's link as well."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from app.accounts import audit
from app.accounts.access import token_hash
from app.accounts.people import checked_email, checked_roles, create_user
from app.errors import BadInput, Gone, NotFound
from app.languages import N_, _
from app.lists import Asked, Listing, page_of
from app.models import ROLES, Invitation, Membership, Project, User, now

LASTS = 7
LONGEST = 90
"""Days."""
WORTHLESS = N_("This invitation was used, taken back, or is too old. Ask for a new one.")


STATES: dict[str, ColumnElement[bool]] = {
    "open": and_(Invitation.used_at.is_(None), Invitation.revoked_at.is_(None), Invitation.expires_at > func.now()),
    "used": Invitation.used_at.is_not(None),
    "revoked": Invitation.revoked_at.is_not(None),
    "ended": and_(Invitation.used_at.is_(None), Invitation.expires_at <= func.now()),
}


@dataclass(frozen=True)
class Listed:
    """One line of the list of invitations; `used_by` is who came in."""

    invitation: Invitation
    project: Project | None
    invited_by: User
    used_by: User | None

    @property
    def state(self) -> str:
        """Of STATES."""
        if self.invitation.used_at is not None:
            return "used"
        if self.invitation.revoked_at is not None:
            return "revoked"
        return "open" if self.invitation.expires_at > now() else "ended"


def invite(
    session: Session,
    by: User | None,
    roles: Iterable[str],
    email: str = "",
    *,
    project: Project | None = None,
    project_roles: Iterable[str] = (),
    days: int = LASTS,
) -> str:
    """A new invitation's token, with roles everywhere, in a project, or both.

    Without an e-mail address the link is for whoever opens it.
    """
    wanted, wanted_there = checked_roles(roles), checked_roles(project_roles)
    if project is not None and not wanted_there:
        raise BadInput(_("Choose at least one role in the project for the person you invite."))
    if not wanted and not wanted_there:
        raise BadInput(_("Choose at least one role for the person you invite."))
    if not 1 <= days <= LONGEST:
        raise BadInput(_("An invitation works for 1 to {longest} days.").format(longest=LONGEST))
    token = secrets.token_urlsafe(32)
    made = Invitation(
        token_hash=token_hash(token),
        email=checked_email(email) if email.strip() else None,
        roles=wanted,
        project_id=project.id if project else None,
        project_roles=wanted_there if project else [],
        invited_by_id=by.id if by else None,
        expires_at=now() + timedelta(days=days),
    )
    session.add(made)
    session.flush()
    # Without the address: the log cannot forget, and who is invited may want to be forgotten.
    audit.record(
        session, "invited", by=by, project=project, invitation=made.id, roles=wanted, project_roles=made.project_roles
    )
    return token


def listed(session: Session, asked: Asked, path: str, project: Project | None = None) -> Listing[Listed]:
    """A page of the invitations by people, newest first; with a project only those into it.

    The search is for words in the address, and `is:open`, `is:used`, `is:revoked`, `is:ended`; open ones else.
    """
    inviter, user = aliased(User), aliased(User)
    words, filters = asked.parsed("is")
    states = [STATES[state] for state in filters["is"] if state in STATES]
    query = (
        select(Invitation, Project, inviter, user)
        .join(inviter, inviter.id == Invitation.invited_by_id)
        .outerjoin(user, user.id == Invitation.used_by_id)
        .outerjoin(Project, Project.id == Invitation.project_id)
        .where(or_(*(states or [STATES["open"]])))
    )
    if project is not None:
        query = query.where(Invitation.project_id == project.id)
    for word in words:
        query = query.where(Invitation.email.icontains(word, autoescape=True))
    columns = {"made": Invitation.id, "ends": Invitation.expires_at}
    return page_of(session, query, Invitation.id, columns, asked, path, "-made", make=Listed)


def revoke(session: Session, invitation_id: int, project: Project | None = None) -> None:
    """Make an unused invitation (into this project alone) worthless; doing it twice is fine."""
    invitation = session.get(Invitation, invitation_id)
    if invitation is None or (project is not None and (invitation.project_id != project.id or invitation.roles)):
        raise NotFound(_("There is no such invitation."))
    if invitation.used_at is None and invitation.revoked_at is None:
        invitation.revoked_at = now()
        audit.record(session, "invitation_revoked", project=invitation.project_id, invitation=invitation.id)


def find(session: Session, token: str) -> Invitation:
    """The invitation behind a link while it works; raises Gone."""
    invitation = session.scalar(
        select(Invitation).where(
            Invitation.token_hash == token_hash(token),
            Invitation.used_at.is_(None),
            Invitation.revoked_at.is_(None),
            Invitation.expires_at > now(),
        )
    )
    # The first person's link is worth nothing once there is a first person, however they came.
    if invitation is None or (invitation.invited_by_id is None and has_first_person(session)):
        raise Gone(_(WORTHLESS))
    return invitation


def accept(session: Session, token: str, email: str, name: str, password: str) -> User:
    """Make the person whom the invitation is for. Of two who open the same link at once, one gets in."""
    invitation = _taken(session, token)
    person = create_user(session, invitation.email or email, invitation.roles, password, name=name)
    _use(session, invitation, person)
    return person


def join(session: Session, token: str, person: User) -> Project:
    """Let somebody who has an account into the project that the invitation is for; raises BadInput where it is not."""
    invitation = _taken(session, token)
    if invitation.project_id is None:
        raise BadInput(_("You have an account already, and this invitation is for a new one."))
    if invitation.email is not None and invitation.email != person.email:
        raise BadInput(_("This invitation is for another e-mail address. Ask for one of your own."))
    _use(session, invitation, person)
    return session.get_one(Project, invitation.project_id)


def _taken(session: Session, token: str) -> Invitation:
    invitation = find(session, token)
    session.refresh(invitation, with_for_update=True)
    if invitation.used_at is not None or invitation.revoked_at is not None:
        raise Gone(_(WORTHLESS))
    return invitation


def _use(session: Session, invitation: Invitation, person: User) -> None:
    invitation.used_at = now()
    invitation.used_by_id = person.id
    if invitation.project_id is not None:
        known = session.scalar(
            select(Membership.roles).where(
                Membership.project_id == invitation.project_id, Membership.user_id == person.id
            )
        )
        roles = checked_roles([*invitation.project_roles, *(known or ())])
        session.execute(
            insert(Membership)
            .values(project_id=invitation.project_id, user_id=person.id, roles=roles)
            .on_conflict_do_update(index_elements=["project_id", "user_id"], set_={"roles": roles})
        )
    audit.record(session, "joined", by=person, project=invitation.project_id, invitation=invitation.id)


def has_first_person(session: Session) -> bool:
    """Whether there is anybody who can sign in with a password."""
    return bool(session.scalar(select(exists().where(User.kind == "person", User.password_hash.is_not(None)))))


def first_person_link(session: Session) -> str | None:
    """The path of a new link with all three roles while there is nobody yet; the older ones stop working."""
    if has_first_person(session):
        return None
    session.execute(
        update(Invitation)
        .where(Invitation.invited_by_id.is_(None), Invitation.used_at.is_(None), Invitation.revoked_at.is_(None))
        .values(revoked_at=func.now())
    )
    return f"/invitations/{invite(session, None, ROLES)}"
