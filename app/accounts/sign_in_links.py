"""Sign-in links: an admin lets somebody who cannot come in any more set a new password, once and soon."""

import secrets
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, joinedload

from app.accounts import audit
from app.accounts.access import token_hash
from app.accounts.passwords import hash_password
from app.accounts.sessions import sign_out_everywhere
from app.errors import Conflict, Gone
from app.languages import N_, _
from app.models import SignInLink, User, now

LASTS = timedelta(days=1)
WORTHLESS = N_("This link was used, replaced by a newer one, or is too old. Ask an admin for a new one.")


def reset(session: Session, by: User, person: User) -> str:
    """A new link's token. The person's password, sessions and earlier link are worth nothing from now on.

    Raises Conflict for oneself, who would be shut out, and for people who may not come in at all.
    """
    if person.id == by.id:
        raise Conflict(_("You are signed in; change your password on your own page."))
    if person.deactivated_at is not None:
        raise Conflict(_("This person may not sign in. Let them in again first."))
    token = secrets.token_urlsafe(32)
    link = {"token_hash": token_hash(token), "created_at": now(), "expires_at": now() + LASTS}
    session.execute(
        insert(SignInLink)
        .values(user_id=person.id, **link)
        .on_conflict_do_update(index_elements=["user_id"], set_=link)
    )
    person.password_hash = None
    sign_out_everywhere(session, person)
    audit.record(session, "sign_in_reset", about=person)
    return token


def find(session: Session, token: str) -> User:
    """Whose link it is, while it works; raises Gone."""
    link = session.scalar(
        select(SignInLink)
        .options(joinedload(SignInLink.user))
        .where(SignInLink.token_hash == token_hash(token), SignInLink.expires_at > now())
    )
    if link is None or link.user.deactivated_at is not None:
        raise Gone(_(WORTHLESS))
    return link.user


def use(session: Session, token: str, password: str) -> User:
    """Set the password; of two who open the link at once, one does. Raises BadInput where the password will not do."""
    person = find(session, token)
    hashed = hash_password(password)
    used = delete(SignInLink).where(SignInLink.token_hash == token_hash(token)).returning(SignInLink.user_id)
    if session.scalar(used) is None:
        raise Gone(_(WORTHLESS))
    person.password_hash = hashed
    audit.record(session, "password_set", by=person)
    return person
