"""Resetting sign-in: a link from an admin sets a new password, once and within a day; the old ones end at once."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.accounts import people, sessions, sign_in_links
from app.accounts.access import COOKIE
from app.errors import Conflict
from app.models import SignInLink, User, now
from tests.people import browse_as, make_person


@pytest.fixture
def bob(session: Session) -> User:
    return make_person(session, "bob", "admin")


@pytest.fixture
def eve(session: Session) -> User:
    return people.create_user(session, "eve@example.org", ["annotator"], "eve's password")


def test_it_ends_the_old_ways_in_and_opens_a_new_one(
    client: TestClient, session: Session, bob: User, eve: User
) -> None:
    sessions.start(session, eve, "an old browser")
    browse_as(client, session, bob)
    shown = client.post(f"/people/{eve.id}/sign-in-link")
    assert shown.status_code == 201
    link = re.search(r'value="http://testserver(/sign-in-links/[^"]+)"', shown.text)
    assert link is not None
    assert link[1] not in client.get(f"/people/{eve.id}").text
    assert sessions.open_sessions(session, eve) == []
    client.cookies.clear()
    form = {"email": eve.email, "password": "eve's password"}
    assert client.post("/sign-in", data=form).status_code == 422
    assert "This link is for eve@example.org." in client.get(link[1]).text
    assert "Choose one of at least 8." in client.post(link[1], data={"password": "short"}).text
    answer = client.post(link[1], data={"password": "a new password"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert COOKIE in client.cookies
    assert client.post("/sign-in", data={**form, "password": "a new password"}).status_code == 303
    assert client.post(link[1], data={"password": "once more please"}).status_code == 410


def test_a_newer_link_an_old_one_and_a_deactivated_persons_are_worthless(
    client: TestClient, session: Session, bob: User, eve: User
) -> None:
    first, second = (sign_in_links.reset(session, bob, eve) for _ in range(2))
    assert client.get(f"/sign-in-links/{first}").status_code == 410
    assert client.get(f"/sign-in-links/{second}").status_code == 200
    session.execute(update(SignInLink).values(expires_at=now()))
    assert "Ask an admin for a new one." in client.get(f"/sign-in-links/{second}").text
    third = sign_in_links.reset(session, bob, eve)
    people.deactivate(session, eve)
    assert client.post(f"/sign-in-links/{third}", data={"password": "a new password"}).status_code == 410


def test_nobody_shuts_themselves_or_the_shut_out_out(session: Session, bob: User, eve: User) -> None:
    with pytest.raises(Conflict, match="change your password on your own page"):
        sign_in_links.reset(session, bob, bob)
    people.deactivate(session, eve)
    with pytest.raises(Conflict, match="Let them in again first"):
        sign_in_links.reset(session, bob, eve)
