"""Invitations: one person each, with the roles that were chosen, for seven days."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import invitations, people
from app.accounts.access import COOKIE
from app.database import open_session
from app.errors import Gone
from app.models import ROLES, Invitation, User, now
from tests.at_once import while_open
from tests.people import make_person

FORM = {"email": "eve@example.org", "name": "Eve", "password": "correct horse"}


@pytest.fixture
def bob(session: Session) -> User:
    return people.create_user(session, "bob@example.org", ["admin"], "bob's password")


def test_accepting_makes_the_person_and_signs_them_in(client: TestClient, session: Session, bob: User) -> None:
    path = f"/invitations/{invitations.invite(session, bob, ['operator', 'annotator'])}"
    shown = client.get(path).text
    assert "Train, judge, promote" in shown
    assert "Set projects up" not in shown
    answer = client.post(path, data=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    eve = session.scalars(select(User).where(User.email == "eve@example.org")).one()
    assert (eve.name, eve.roles, eve.kind) == ("Eve", ["annotator", "operator"], "person")
    assert client.get("/me").status_code == 200
    assert client.post("/sign-in", data=FORM).status_code == 303


def test_it_works_once(client: TestClient, session: Session, bob: User) -> None:
    path = f"/invitations/{invitations.invite(session, bob, ['annotator'])}"
    client.post(path, data=FORM)
    for answer in (client.get(path), client.post(path, data={**FORM, "email": "other@example.org"})):
        assert answer.status_code == 410
        assert "Ask for a new one." in answer.text


@pytest.mark.parametrize("ended", ["revoked_at", "expires_at"])
def test_a_revoked_or_old_one_works_no_more(client: TestClient, session: Session, bob: User, ended: str) -> None:
    token = invitations.invite(session, bob, ["annotator"])
    invitation = session.scalars(select(Invitation)).one()
    assert timedelta(days=6, hours=23) < invitation.expires_at - now() <= timedelta(days=7)
    setattr(invitation, ended, now())
    session.flush()
    assert client.get(f"/invitations/{token}").status_code == 410
    assert client.post(f"/invitations/{token}", data=FORM).status_code == 410


def test_an_unknown_link_says_what_to_do(client: TestClient) -> None:
    answer = client.get("/invitations/guessed")
    assert answer.status_code == 410
    assert "Ask for a new one." in answer.text


def test_a_named_invitation_is_for_that_address_alone(client: TestClient, session: Session, bob: User) -> None:
    token = invitations.invite(session, bob, ["annotator"], " Carol@Example.org")
    client.post(f"/invitations/{token}", data=FORM)
    assert session.scalars(select(User.email).order_by(User.id)).all() == ["bob@example.org", "carol@example.org"]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"password": "seven77"}, "This password has 7 characters. Choose one of at least 8."),
        ({"email": "eve"}, "is not an e-mail address."),
        ({"email": "BOB@example.org"}, "Somebody with the e-mail address bob@example.org is here already."),
        ({"name": "x" * 201}, "Choose a name of at most 200 characters."),
    ],
)
def test_bad_input_keeps_the_link_and_what_was_typed(
    client: TestClient, session: Session, bob: User, wrong: dict[str, str], sentence: str
) -> None:
    path = f"/invitations/{invitations.invite(session, bob, ['annotator'])}"
    answer = client.post(path, data={**FORM, **wrong})
    assert answer.status_code == 422
    assert sentence in answer.text
    assert ({**FORM, **wrong})["name"] in answer.text
    assert COOKIE not in client.cookies
    assert client.post(path, data=FORM).status_code == 303


def test_a_hostile_name_is_shown_as_text(client: TestClient, session: Session, bob: User) -> None:
    path = f"/invitations/{invitations.invite(session, bob, ['admin'])}"
    client.post(path, data={**FORM, "name": '<img src=x onerror="alert(1)">'})
    for address in ("/me", "/people", "/projects"):
        shown = client.get(address).text
        assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;" in shown
        assert "<img" not in shown


def test_the_first_persons_link_gives_every_role(client: TestClient, session: Session) -> None:
    path = invitations.first_person_link(session)
    assert path is not None
    assert path.startswith("/invitations/")
    assert "first person here" in client.get(path).text
    assert client.post(path, data=FORM).status_code == 303
    assert session.scalars(select(User.roles)).one() == list(ROLES)
    assert invitations.first_person_link(session) is None


def test_a_newer_first_link_replaces_the_older(client: TestClient, session: Session) -> None:
    older, newer = invitations.first_person_link(session), invitations.first_person_link(session)
    assert older is not None
    assert newer is not None
    assert client.get(older).status_code == 410
    assert client.get(newer).status_code == 200


def test_a_first_link_is_worthless_once_somebody_is_there(client: TestClient, session: Session) -> None:
    path = invitations.first_person_link(session)
    assert path is not None
    people.create_user(session, "bob@example.org", ["admin"], "bob's password")
    assert client.post(path, data=FORM).status_code == 410


def test_simulated_annotators_are_not_the_first_person(session: Session) -> None:
    people.create_user(session, "robot@example.org", ["annotator"], "robot password", kind="simulated")
    make_person(session, "tokenonly", "admin")
    assert invitations.first_person_link(session) is not None


def test_two_who_open_the_same_link_at_once_make_one_person(committed: None) -> None:
    with open_session() as session:
        bob = people.create_user(session, "race-bob@example.org", ["admin"], "bob's password")
        token = invitations.invite(session, bob, ["annotator"])

    def accept(n: int) -> Callable[[Session], User]:
        return lambda own: invitations.accept(own, token, f"race-{n}@example.org", "", "a password")

    with pytest.raises(Gone):
        while_open(accept(1), accept(2))
    with open_session() as session:
        made = session.scalars(select(User.email).where(User.email.like("race-_@example.org"))).all()
        assert made == ["race-1@example.org"]
