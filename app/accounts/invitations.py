"""Invitations: links that make one person each, with roles chosen by an admin; the first person's link as well."""

import secrets
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from app.accounts.access import token_hash
from app.accounts.people import checked_email, checked_roles, create_user
from app.errors import BadInput, Gone, NotFound
from app.languages import N_, _
from app.models import ROLES, Invitation, User, now

LASTS = timedelta(days=7)
WORTHLESS = N_("This invitation was used, taken back, or is too old. Ask for a new one.")


def invite(session: Session, by: User | None, roles: Iterable[str], email: str = "") -> str:
    """A new invitation's token. Without an e-mail address the link is for whoever opens it."""
    wanted = checked_roles(roles)
    if not wanted:
        raise BadInput(_("Choose at least one role for the person you invite."))
    token = secrets.token_urlsafe(32)
    session.add(
        Invitation(
            token_hash=token_hash(token),
            email=checked_email(email) if email.strip() else None,
            roles=wanted,
            invited_by_id=by.id if by else None,
            expires_at=now() + LASTS,
        )
    )
    session.flush()
    return token


def open_invitations(session: Session) -> list[Invitation]:
    """Invitations by people that still work, newest first."""
    return list(
        session.scalars(
            select(Invitation)
            .where(
                Invitation.invited_by_id.is_not(None),
                Invitation.used_at.is_(None),
                Invitation.revoked_at.is_(None),
                Invitation.expires_at > now(),
            )
            .order_by(Invitation.id.desc())
        )
    )


def revoke(session: Session, invitation_id: int) -> None:
    """Make an unused invitation worthless; doing it twice is fine."""
    invitation = session.get(Invitation, invitation_id)
    if invitation is None:
        raise NotFound(_("There is no such invitation."))
    if invitation.used_at is None:
        invitation.revoked_at = invitation.revoked_at or now()


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
    invitation = find(session, token)
    session.refresh(invitation, with_for_update=True)
    if invitation.used_at is not None or invitation.revoked_at is not None:
        raise Gone(_(WORTHLESS))
    person = create_user(session, invitation.email or email, invitation.roles, password, name=name)
    invitation.used_at = now()
    invitation.used_by_id = person.id
    return person


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
