"""Attempts are counted in Postgres: exactly, per window, and also when they fail."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import limits, people
from app.accounts.limits import Limit, forgive, hit
from app.database import open_session
from app.errors import TooMany
from app.models import RateLimit, now

THREE = Limit("three", "Do not knock for {span}.", 3)


@pytest.fixture(autouse=True)
def _in_one_window(session: Session) -> None:
    """Begin no test in the last seconds of a quarter of an hour: its second half would count from nothing."""
    clock = session.scalar(select(func.extract("epoch", func.clock_timestamp())))
    left = THREE.window.total_seconds() - float(clock) % THREE.window.total_seconds()
    session.rollback()
    if left < 20:
        time.sleep(left)


def test_it_says_when_to_try_again() -> None:
    for _ in range(3):
        hit(THREE, "alice")
    with pytest.raises(TooMany, match=r"^Do not knock for (1 minute|\d+ minutes)\.$") as problem:
        hit(THREE, "alice")
    assert 1 <= problem.value.extra["retry_after"] <= 15 * 60


def test_one_persons_attempts_are_not_anothers() -> None:
    for _ in range(3):
        hit(THREE, "alice")
    hit(THREE, "bob")


def test_a_new_window_starts_from_nothing() -> None:
    for _ in range(3):
        hit(THREE, "alice")
    with open_session() as session:
        session.scalars(select(RateLimit)).one().window_start -= THREE.window
    hit(THREE, "alice")


def test_a_forgiven_attempt_does_not_count() -> None:
    for _ in range(20):
        hit(THREE, "alice")
        forgive(THREE, "alice")


def test_old_windows_are_forgotten() -> None:
    with open_session() as session:
        session.add(RateLimit(key="three alice", window_start=now() - limits.KEPT - timedelta(hours=1), hits=3))
    hit(THREE, "bob")
    with open_session() as session:
        assert session.scalars(select(RateLimit.key)).all() == ["three bob"]


def test_attempts_at_the_same_moment_are_all_counted() -> None:
    crowd = Limit("crowd", "Do not knock for {span}.", 1000)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: hit(crowd, "together"), range(40)))
    with open_session() as session:
        # Two windows where the quarter of an hour ended in between.
        assert session.scalar(select(func.sum(RateLimit.hits)).where(RateLimit.key == "crowd together")) == 40


def wrong(client: TestClient, email: str) -> int:
    return client.post("/sign-in", data={"email": email, "password": "not the one"}).status_code


def test_wrong_passwords_for_one_address_are_limited_and_the_form_is_kept(client: TestClient, session: Session) -> None:
    people.create_user(session, "alice@example.org", ["annotator"], "the right password")
    statuses = [wrong(client, "alice@example.org") for _ in range(limits.SIGN_IN_BY_EMAIL.times)]
    assert set(statuses) == {422}
    refused = client.post("/sign-in", data={"email": "Alice@example.org ", "password": "the right password"})
    assert refused.status_code == 429
    assert "Too many attempts to sign in. Try again in" in refused.text
    assert 'value="Alice@example.org ' in refused.text
    assert int(refused.headers["retry-after"]) > 0


def test_wrong_passwords_from_one_place_are_limited_whatever_the_address(
    client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SIGN_IN_BY_ADDRESS", Limit("sign-in address", limits.SIGN_IN, 4))
    assert [wrong(client, f"person{n}@example.org") for n in range(5)] == [422, 422, 422, 422, 429]


def test_right_passwords_never_lock_an_office_out(
    client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SIGN_IN_BY_ADDRESS", Limit("sign-in address", limits.SIGN_IN, 2))
    monkeypatch.setattr(limits, "SIGN_IN_BY_EMAIL", Limit("sign-in e-mail", limits.SIGN_IN, 2))
    people.create_user(session, "alice@example.org", ["annotator"], "the right password")
    right = {"email": "alice@example.org", "password": "the right password"}
    assert [client.post("/sign-in", data=right).status_code for _ in range(5)] == [303] * 5
