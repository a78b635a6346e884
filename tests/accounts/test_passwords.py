"""How passwords are kept."""

from threading import BoundedSemaphore

import pytest
from pwdlib import PasswordHash

from app.accounts import passwords
from app.errors import BadInput, Unavailable
from app.models import User


@pytest.fixture(autouse=True)
def quick_hashes() -> None:
    """Not here: these tests are about the real parameters."""


def test_it_is_argon2id_above_owasps_minimum() -> None:
    assert passwords.hash_password("eight ch").startswith("$argon2id$v=19$m=19456,t=3,p=1$")


def test_nobodys_hash_costs_the_same() -> None:
    assert passwords._hash_of_nobody().split("$")[:4] == passwords.hash_password("eight ch").split("$")[:4]


@pytest.mark.parametrize("password", ["", "seven77", "x" * 1001])
def test_too_short_and_absurdly_long_ones_are_refused(password: str) -> None:
    with pytest.raises(BadInput, match="Choose"):
        passwords.hash_password(password)


def test_a_hash_with_older_parameters_is_renewed_when_its_owner_comes() -> None:
    from pwdlib.hashers.argon2 import Argon2Hasher

    older = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),)).hash("the password")
    person = User(email="alice@example.org", password_hash=older)
    assert not passwords.is_password_of(person, "another one")
    assert person.password_hash == older
    assert passwords.is_password_of(person, "the password")
    assert person.password_hash.startswith("$argon2id$v=19$m=19456,t=3,p=1$")
    assert passwords.is_password_of(person, "the password")


def test_a_crowd_at_the_door_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_queue", BoundedSemaphore(2))
    with passwords._queue, passwords._queue, pytest.raises(Unavailable, match="Try again in a few seconds"):
        passwords.is_password_of(None, "a password")
    assert not passwords.is_password_of(None, "a password")
    assert not passwords.is_password_of(None, "a password")


def test_a_refused_password_leaves_the_door_free() -> None:
    for _ in range(passwords.MOST_WAITING + 1):
        with pytest.raises(BadInput):
            passwords.hash_password("short")
