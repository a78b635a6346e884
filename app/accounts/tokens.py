"""API tokens: bearer secrets for programs, shown once, kept as a SHA-256."""

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.access import token_hash
from app.errors import BadInput, NotFound
from app.languages import _
from app.models import ApiToken, User, now

SHOWN = 15
"""Characters of a token that its list shows: the common beginning and six more."""


def create_token(session: Session, person: User, name: str) -> str:
    """A new token that may do what the person may. This is the only time it is seen."""
    name = name.strip()
    if not name:
        raise BadInput(_("Give the token a name, such as the program that will use it."))
    if len(name) > 100:
        raise BadInput(_("Give the token a name of at most 100 characters."))
    token = "pairloop_" + secrets.token_urlsafe(32)
    made = ApiToken(user_id=person.id, name=name, prefix=token[:SHOWN], token_hash=token_hash(token))
    session.add(made)
    session.flush()
    audit.record(session, "token_made", about=person, token=made.id)
    return token


def open_tokens(session: Session, person: User) -> list[ApiToken]:
    """A person's tokens that still work, newest first."""
    return list(
        session.scalars(
            select(ApiToken)
            .where(ApiToken.user_id == person.id, ApiToken.revoked_at.is_(None))
            .order_by(ApiToken.id.desc())
        )
    )


def find(session: Session, person: User, token_id: int) -> ApiToken:
    """A person's own token; NotFound."""
    token = session.scalar(select(ApiToken).where(ApiToken.id == token_id, ApiToken.user_id == person.id))
    if token is None:
        raise NotFound(_("You have no such token."))
    return token


def revoke(session: Session, person: User, token_id: int) -> ApiToken:
    """Make a person's own token worthless from now on; revoking twice is fine."""
    token = find(session, person, token_id)
    if token.revoked_at is None:
        token.revoked_at = now()
        audit.record(session, "token_revoked", about=person, token=token.id)
    return token
