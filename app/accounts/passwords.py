"""Passwords: argon2id, and the same work for people who do not exist."""

import secrets
from functools import cache
from threading import BoundedSemaphore

from pwdlib import PasswordHash

from app.errors import BadInput
from app.models import User

SHORTEST, LONGEST = 8, 1000
_hasher = PasswordHash.recommended()
# One hash takes 64 MiB for a tenth of a second: a crowd at the door must not take the memory of the web process.
_hashing = BoundedSemaphore(2)


def hash_password(password: str) -> str:
    """The argon2id hash of a new password; BadInput where it is too short or absurdly long."""
    if len(password) < SHORTEST:
        raise BadInput(f"This password has {len(password)} characters. Choose one of at least {SHORTEST}.")
    if len(password) > LONGEST:
        raise BadInput(f"Choose a password of at most {LONGEST} characters.")
    with _hashing:
        return _hasher.hash(password)


@cache
def _hash_of_nobody() -> str:
    return _hasher.hash(secrets.token_urlsafe())


def is_password_of(person: User | None, password: str) -> bool:
    """Whether this is the person's password. Nobody's takes as long as somebody's, so time tells nothing.

    Renews the stored hash when the recommended parameters have changed since.
    """
    stored = person.password_hash if person is not None else None
    with _hashing:
        right, renewed = _hasher.verify_and_update(password[:LONGEST], stored or _hash_of_nobody())
    if person is None or stored is None:
        return False
    if right and renewed is not None:
        person.password_hash = renewed
    return right
