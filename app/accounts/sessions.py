"""Signed-in browsers: a random token in a cookie, its SHA-256 in a row that can be deleted."""

import secrets
from typing import Any

from fastapi import Response
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.accounts import audit, limits
from app.accounts.access import COOKIE, SESSION_LASTS, token_hash
from app.accounts.passwords import is_password_of
from app.models import Assignment, LoginSession, User, now
from app.settings import settings


def sign_in(session: Session, email: str, password: str, address: str) -> User | None:
    """The active person with this e-mail address and password, or None; TooMany after too many wrong ones."""
    email = email.strip().lower()
    limits.hit(limits.SIGN_IN_BY_EMAIL, email)
    limits.hit(limits.SIGN_IN_BY_ADDRESS, address)
    person = session.scalar(select(User).where(func.lower(User.email) == email, User.deactivated_at.is_(None)))
    if not is_password_of(person, password):
        # Not what was typed: it may be somebody's password in the wrong field.
        audit.record(session, "sign_in_failed", about=person)
        return None
    limits.forgive(limits.SIGN_IN_BY_EMAIL, email)
    limits.forgive(limits.SIGN_IN_BY_ADDRESS, address)
    return person


def start(session: Session, person: User, user_agent: str, instead_of: str | None = None) -> str:
    """A new session's token. The one this browser had before ends, so that nobody keeps a token from before."""
    if instead_of:
        end(session, instead_of)
    session.execute(delete(LoginSession).where(LoginSession.user_id == person.id, LoginSession.expires_at <= now()))
    token = secrets.token_urlsafe(32)
    session.add(
        LoginSession(
            token_hash=token_hash(token),
            user_id=person.id,
            user_agent=user_agent[:300],
            expires_at=now() + SESSION_LASTS,
        )
    )
    audit.record(session, "signed_in", by=person)
    session.flush()
    return token


def end(session: Session, token: str) -> int | None:
    """Sign out the browser that holds this token, and say whose it was; nothing happens where there is none."""
    ended = delete(LoginSession).where(LoginSession.token_hash == token_hash(token))
    return session.scalar(ended.returning(LoginSession.user_id))


def leave(session: Session, token: str) -> None:
    """Sign out because somebody wants to: what they hold goes back, so that others need not wait for it to lapse."""
    if (person_id := end(session, token)) is None:
        return
    _let_go(session, person_id)
    audit.record(session, "signed_out", by=session.get(User, person_id))


def sign_out_everywhere(session: Session, person: User, but: str | None = None) -> int:
    """End every session of a person, `but` the browser with this token; returns how many ended."""
    others = delete(LoginSession).where(LoginSession.user_id == person.id)
    if but is not None:
        others = others.where(LoginSession.token_hash != token_hash(but))
    else:
        _let_go(session, person.id)
    return len(session.scalars(others.returning(LoginSession.id)).all())


def _let_go(session: Session, person_id: int) -> None:
    """Give back the pairs in somebody's hands, so that others need not wait until the leases lapse."""
    held = (Assignment.user_id == person_id, Assignment.status == "leased")
    session.execute(update(Assignment).where(*held).values(status="released"))


def open_sessions(session: Session, person: User) -> list[LoginSession]:
    """Where a person is signed in, the most recently used first."""
    return list(
        session.scalars(
            select(LoginSession)
            .where(LoginSession.user_id == person.id, LoginSession.expires_at > now())
            .order_by(LoginSession.last_seen_at.desc(), LoginSession.id.desc())
        )
    )


def keep(response: Response, token: str) -> None:
    """Put the token into the browser's cookie."""
    response.set_cookie(COOKIE, token, max_age=int(SESSION_LASTS.total_seconds()), **_cookie())


def forget(response: Response) -> None:
    """Take the token out of the browser."""
    response.delete_cookie(COOKIE, **_cookie())


def _cookie() -> dict[str, Any]:
    return {"path": "/", "httponly": True, "samesite": "lax", "secure": settings.public_url.startswith("https://")}


BROWSERS = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Mac OS": "macOS",
    "Linux": "Linux",
}


def browser_name(user_agent: str) -> str:
    """`Firefox, Windows` from what a browser says of itself; its own words where it is not one of the known."""
    # The order of both tables matters: Android says Linux too, Edge and Opera say Chrome, and all of them say Safari.
    browser = next((name for mark, name in BROWSERS.items() if mark in user_agent), None)
    if browser is None:
        return user_agent[:60]
    system = next((name for mark, name in SYSTEMS.items() if mark in user_agent), None)
    return f"{browser}, {system}" if system else browser
