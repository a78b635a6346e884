"""The page about people: admins invite, give roles, close and open doors; the last admin stays."""

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import invitations, people, sessions, tokens
from app.database import open_session
from app.errors import Conflict
from app.models import Invitation, User
from app.settings import settings
from tests.at_once import while_open
from tests.people import bearer, browse_as, make_person


@pytest.fixture
def bob(client: TestClient, session: Session) -> User:
    person = make_person(session, "bob", "admin")
    browse_as(client, session, person)
    return person


@pytest.mark.parametrize("roles", [(), ("annotator",), ("operator",), ("annotator", "operator")])
def test_only_admins_see_it(client: TestClient, session: Session, roles: tuple[str, ...]) -> None:
    person = make_person(session, "mallory", *roles)
    browse_as(client, session, person)
    for answer in (
        client.get("/people"),
        client.get(f"/people/{person.id}"),
        client.post("/people/invitations", data={"roles": "admin"}),
        client.post(f"/people/{person.id}/roles", data={"roles": "admin"}),
        client.post(f"/people/{person.id}/abilities", data={"only": "ko"}),
        client.post(f"/people/{person.id}/deactivate"),
        client.get("/people/invitations"),
        client.get("/audit"),
        client.get("/audit.csv"),
        client.get(f"/people/{person.id}/data"),
        client.post(f"/people/{person.id}/sign-in-link"),
        client.post(f"/people/{person.id}/erase", data={"email": person.email}),
        client.post(f"/people/{person.id}/reactivate"),
        client.post("/people/invitations/1/revoke"),
    ):
        assert answer.status_code == 403
        assert "This needs the role admin." in answer.text
    assert person.roles == list(roles)
    assert person.abilities is None
    assert person.deactivated_at is None
    assert session.scalars(select(Invitation)).all() == []


def test_nobody_signed_in_sees_the_sign_in_page(client: TestClient) -> None:
    assert client.get("/people").headers["location"] == "/sign-in?next=/people"
    assert client.post("/people/invitations", data={"roles": "admin"}).status_code == 401


def test_it_lists_everybody(client: TestClient, session: Session, bob: User) -> None:
    make_person(session, "robot", "annotator", kind="simulated")
    gone = make_person(session, "gone")
    people.deactivate(session, gone)
    shown = client.get("/people").text
    assert "bob@example.org" in shown
    assert re.search(r"Robot</bdi></a>\s*<span class=\"tag\">simulated", shown)
    assert re.search(r"Gone</bdi></a>\s*<span class=\"tag\">deactivated", shown)


def test_it_is_searched_sorted_and_says_who_fits(client: TestClient, session: Session, bob: User) -> None:
    make_person(session, "alice", "annotator")
    people.deactivate(session, make_person(session, "carol", "annotator"))

    def names(query: str) -> list[str]:
        return re.findall(r"<bdi>(\w+)</bdi></a>", client.get(f"/people?{query}").text)

    assert names("") == ["Alice", "Bob", "Carol"]
    assert names("sort=-name") == ["Carol", "Bob", "Alice"]
    assert names("sort=-since") == ["Carol", "Alice", "Bob"]
    assert names("q=ALI+example.org") == ["Alice"]
    assert names("q=role:annotator+is:active") == ["Alice"]
    assert names("q=is:deactivated") == ["Carol"]
    assert "Nobody fits this search." in client.get("/people?q=nobody").text
    assert client.get("/people?sort=password_hash").status_code == 200


def test_an_invitations_link_is_shown_once_and_works(
    client: TestClient, session: Session, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "public_url", "https://labels.example.org/")
    answer = client.post("/people/invitations", data={"email": "eve@example.org", "roles": ["annotator", "operator"]})
    assert answer.status_code == 201
    link = re.search(r'value="https://labels\.example\.org(/invitations/[^"]+)"', answer.text)
    assert link is not None
    later = client.get("/people/invitations").text
    assert link[1] not in later
    assert "eve@example.org" in later
    assert "annotator, operator" in later
    client.cookies.clear()
    assert client.get(link[1]).status_code == 200


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"email": ""}, "Choose at least one role"),
        ({"email": "nonsense", "roles": "admin"}, "is not an e-mail address"),
        ({"roles": ["annotator", "king"]}, "There is no role &#39;king&#39;."),
    ],
)
def test_a_bad_invitation_is_explained(
    client: TestClient, session: Session, bob: User, form: dict[str, str], sentence: str
) -> None:
    answer = client.post("/people/invitations", data=form)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert session.scalars(select(Invitation)).all() == []


def test_an_invitation_can_be_taken_back(client: TestClient, session: Session, bob: User) -> None:
    token = invitations.invite(session, bob, ["annotator"])
    [invitation] = session.scalars(select(Invitation)).all()
    assert client.post(f"/people/invitations/{invitation.id}/revoke").status_code == 303
    assert client.get(f"/invitations/{token}").status_code == 410
    assert client.post("/people/invitations/999999/revoke").status_code == 404


def test_roles_change(client: TestClient, session: Session, bob: User) -> None:
    alice = make_person(session, "alice", "annotator")
    answer = client.post(f"/people/{alice.id}/roles", data={"roles": ["operator", "admin", "operator"]})
    assert answer.status_code == 303
    assert alice.roles == ["admin", "operator"]
    client.post(f"/people/{alice.id}/roles", data={})
    assert alice.roles == []


def test_a_person_who_is_not_there_is_404(client: TestClient, bob: User) -> None:
    assert client.get("/people/999999").status_code == 404
    assert client.post("/people/999999/deactivate").status_code == 404
    assert client.get("/people/me").status_code == 422


def test_the_last_admin_cannot_be_removed(client: TestClient, session: Session, bob: User) -> None:
    make_person(session, "robot", "admin", kind="simulated")
    left = make_person(session, "left", "admin")
    people.deactivate(session, left)
    for path, form in (("roles", {"roles": "annotator"}), ("deactivate", {})):
        answer = client.post(f"/people/{bob.id}/{path}", data=form)
        assert answer.status_code == 409
        assert people.LAST_ADMIN in answer.text
    assert (bob.roles, bob.deactivated_at) == (["admin"], None)
    make_person(session, "olga", "admin")
    assert client.post(f"/people/{bob.id}/roles", data={"roles": "annotator"}).status_code == 303


def test_two_admins_who_remove_each_other_at_once_do_not_both_succeed(committed: None) -> None:
    with open_session() as session:
        pair = [people.create_user(session, f"race-{n}@example.org", ["admin"], None) for n in range(2)]

    def remove(person: User) -> Callable[[Session], None]:
        return lambda own: people.deactivate(own, own.get_one(User, person.id))

    with pytest.raises(Conflict):
        while_open(remove(pair[0]), remove(pair[1]))


def test_deactivating_closes_every_door(client: TestClient, session: Session, bob: User) -> None:
    eve = people.create_user(session, "eve@example.org", ["admin"], "eve's password")
    headers = bearer(session, eve)
    token = invitations.invite(session, eve, ["admin"])
    sessions.start(session, eve, "a browser")
    assert client.post(f"/people/{eve.id}/deactivate").status_code == 303
    assert sessions.open_sessions(session, eve) == []
    client.cookies.clear()
    assert client.get("/me", headers=headers).status_code == 303
    assert client.post("/sign-in", data={"email": eve.email, "password": "eve's password"}).status_code == 422
    assert client.get(f"/invitations/{token}").status_code == 410


def test_letting_in_again_does_not_bring_old_tokens_back(client: TestClient, session: Session, bob: User) -> None:
    eve = people.create_user(session, "eve@example.org", ["admin"], "eve's password")
    headers = {"Authorization": f"Bearer {tokens.create_token(session, eve, 'old')}"}
    client.post(f"/people/{eve.id}/deactivate")
    assert client.post(f"/people/{eve.id}/reactivate").status_code == 303
    client.cookies.clear()
    assert client.get("/me", headers=headers).status_code == 303
    assert client.post("/sign-in", data={"email": eve.email, "password": "eve's password"}).status_code == 303
