"""The page about oneself: name, password, browsers."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import limits, people, sessions
from app.accounts.access import COOKIE
from app.models import LoginSession, User
from tests.people import browse_as, make_person

PASSWORD = "the old password"


@pytest.fixture
def alice(client: TestClient, session: Session) -> User:
    person = people.create_user(session, "alice@example.org", ["annotator"], PASSWORD, name="Alice")
    browse_as(client, session, person)
    return person


def change(client: TestClient, current: str = PASSWORD, new: str = "the new password"):
    return client.post("/me/password", data={"current": current, "new": new})


def test_the_name_changes(client: TestClient, session: Session, alice: User) -> None:
    assert client.post("/me/name", data={"name": "  Alice   Liddell "}).status_code == 303
    assert alice.name == "Alice Liddell"
    assert "Alice Liddell</h1>" in client.get("/me").text


def test_a_name_longer_than_a_line_is_refused(client: TestClient, alice: User) -> None:
    answer = client.post("/me/name", data={"name": "x" * 201})
    assert answer.status_code == 422
    assert "at most 200 characters" in answer.text
    assert alice.name == "Alice"


def test_a_new_password_replaces_the_old_and_signs_the_other_browsers_out(
    client: TestClient, session: Session, alice: User
) -> None:
    other = sessions.start(session, alice, "another browser")
    assert "Your password is changed." in change(client).text
    assert client.get("/me").status_code == 200
    client.cookies.set(COOKIE, other)
    assert client.get("/me").status_code == 303
    client.cookies.clear()
    assert client.post("/sign-in", data={"email": alice.email, "password": PASSWORD}).status_code == 422
    assert client.post("/sign-in", data={"email": alice.email, "password": "the new password"}).status_code == 303


@pytest.mark.parametrize(
    ("current", "new", "sentence"),
    [
        ("guess", "the new password", "This is not your current password."),
        ("", "the new password", "This is not your current password."),
        (PASSWORD, "short", "Choose one of at least 8."),
    ],
)
def test_nothing_changes_without_the_current_or_with_a_short_one(
    client: TestClient, session: Session, alice: User, current: str, new: str, sentence: str
) -> None:
    before = alice.password_hash
    answer = change(client, current, new)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert alice.password_hash == before


def test_guessing_the_current_password_in_a_borrowed_browser_is_limited(client: TestClient, alice: User) -> None:
    statuses = [change(client, "guess").status_code for _ in range(limits.PASSWORD_BY_PERSON.times + 1)]
    assert statuses == [422] * limits.PASSWORD_BY_PERSON.times + [429]


def test_signing_out_everywhere_ends_every_session(client: TestClient, session: Session, alice: User) -> None:
    sessions.start(session, alice, "another browser")
    stranger = make_person(session, "bob", "annotator")
    sessions.start(session, stranger, "")
    assert client.post("/me/sign-out-everywhere").headers["location"] == "/sign-in"
    assert session.scalars(select(LoginSession.user_id)).all() == [stranger.id]


def test_it_shows_which_browser_this_is(client: TestClient, session: Session, alice: User) -> None:
    sessions.start(session, alice, "curl/8 <b>")
    shown = client.get("/me").text
    assert "Firefox, Linux" in shown
    assert "curl/8 &lt;b&gt;" in shown
    assert shown.count("(this one)") == 1


def test_nobody_signed_in_may_change_nothing(client: TestClient) -> None:
    for path in ("name", "password", "sign-out-everywhere", "tokens", "tokens/1/revoke"):
        assert client.post(f"/me/{path}", data={"name": "x", "new": "x"}).status_code == 401


def test_one_chooses_when_to_be_reminded_of_a_break(client: TestClient, session: Session, alice: User) -> None:
    assert alice.break_after == 45
    assert client.post("/me/break", data={"minutes": "0"}).status_code == 303
    assert alice.break_after == 0
    assert '<option value="0" selected>never</option>' in client.get("/me").text
    assert client.post("/me/break", data={"minutes": "17"}).status_code == 422
    assert alice.break_after == 0
