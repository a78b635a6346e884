"""Passwords hashed with the smallest parameters, and nobody's attempts counted from one test to the next."""

from collections.abc import Iterator

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # Imported here: this file is read before tests/conftest.py has told the settings where the database is.
    from app.accounts import passwords

    quick = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", PasswordHash((quick,)))
    passwords._hash_of_nobody.cache_clear()
    yield
    passwords._hash_of_nobody.cache_clear()


@pytest.fixture(autouse=True)
def nothing_counted(migrated: None) -> Iterator[None]:
    from app.database import open_session
    from app.models import RateLimit

    yield
    with open_session() as session:
        session.query(RateLimit).delete()
