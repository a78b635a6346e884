"""Passwords: argon2id, and the same work for people who do not exist."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import BoundedSemaphore, Lock

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from app.errors import BadInput, Unavailable
from app.languages import _
from app.models import User

SHORTEST, LONGEST = 8, 1000
MOST_WAITING = 16
# OWASP's argon2id for small machines (19 MiB, two rounds, one thread) with a third round; the library's default takes
# 64 MiB, a third of all that the web process is meant to use.
_hasher = PasswordHash((Argon2Hasher(time_cost=3, memory_cost=19 * 1024, parallelism=1),))
_one_at_a_time = Lock()
_queue = BoundedSemaphore(MOST_WAITING)


@contextmanager
def _at_the_door() -> Iterator[None]:
    """Hash one password at a time, with few waiting: a crowd at the door must not stop those who are inside.

    One hash takes 19 MiB and tens of milliseconds; all of the web process's threads could otherwise wait here.
    """
    if not _queue.acquire(blocking=False):
        raise Unavailable(_("Very many people are signing in at this moment. Try again in a few seconds."))
    try:
        with _one_at_a_time:
            yield
    finally:
        _queue.release()


def hash_password(password: str) -> str:
    """The argon2id hash of a new password; BadInput where it is too short or absurdly long."""
    if len(password) < SHORTEST:
        raise BadInput(
            _("This password has {n} characters. Choose one of at least {shortest}.").format(
                n=len(password), shortest=SHORTEST
            )
        )
    if len(password) > LONGEST:
        raise BadInput(_("Choose a password of at most {longest} characters.").format(longest=LONGEST))
    with _at_the_door():
        return _hasher.hash(password)


@cache
def _hash_of_nobody() -> str:
    return _hasher.hash(secrets.token_urlsafe())


def is_password_of(person: User | None, password: str) -> bool:
    """Whether this is the person's password. Nobody's takes as long as somebody's, so time tells nothing.

    Renews the stored hash when the parameters above have changed since.
    """
    stored = person.password_hash if person is not None else None
    with _at_the_door():
        right, renewed = _hasher.verify_and_update(password[:LONGEST], stored or _hash_of_nobody())
    if person is None or stored is None:
        return False
    if right and renewed is not None:
        person.password_hash = renewed
    return right
