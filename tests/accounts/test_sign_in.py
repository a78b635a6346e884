"""The sign-in page and what a session is."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import passwords, people, sessions
from app.accounts.access import COOKIE, token_hash
from app.accounts.routes import own_path
from app.models import LoginSession, User, now
from app.settings import settings
from tests.people import browse_as, make_person

PASSWORD = "seven plus one"


@pytest.fixture
def alice(session: Session) -> User:
    return people.create_user(session, "alice@example.org", ["annotator"], PASSWORD, name="Alice")


def sign_in(client: TestClient, email: str = "alice@example.org", password: str = PASSWORD, **more: str):
    return client.post("/sign-in", data={"email": email, "password": password, **more})


def test_it_signs_in_with_the_right_password_in_whatever_case_the_address(client: TestClient, alice: User) -> None:
    answer = sign_in(client, " Alice@Example.ORG ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert client.get("/me").status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    client: TestClient, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = sign_in(client).headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    assert "Secure" not in plain
    monkeypatch.setattr(settings, "public_url", "https://labels.example.org")
    assert "Secure" in sign_in(client).headers["set-cookie"]


def test_the_database_holds_the_hash_of_the_token_only(client: TestClient, session: Session, alice: User) -> None:
    sign_in(client)
    token = client.cookies[COOKIE]
    kept = session.scalars(select(LoginSession.token_hash).where(LoginSession.user_id == alice.id)).all()
    assert kept == [token_hash(token)]
    assert token.encode() not in kept[0]


def test_the_token_of_before_ends_when_the_same_browser_signs_in_again(
    client: TestClient, session: Session, alice: User
) -> None:
    sign_in(client)
    before = client.cookies[COOKIE]
    sign_in(client)
    assert client.cookies[COOKIE] != before
    assert session.scalar(select(func.count()).where(LoginSession.token_hash == token_hash(before))) == 0


@pytest.mark.parametrize(
    ("email", "password"),
    [("alice@example.org", "wrong password"), ("nobody@example.org", PASSWORD), ("", ""), ("alice@example.org", "")],
)
def test_it_says_the_same_whatever_was_wrong(client: TestClient, alice: User, email: str, password: str) -> None:
    answer = sign_in(client, email, password)
    assert answer.status_code == 422
    assert "The e-mail address or the password is not right." in answer.text
    assert COOKIE not in client.cookies


def test_it_keeps_the_typed_address_and_escapes_it(client: TestClient, alice: User) -> None:
    answer = sign_in(client, '"><script>alert(1)</script>@example.org', "wrong")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;@example.org" in answer.text
    assert "<script>alert" not in answer.text


def test_a_deactivated_person_stays_out(client: TestClient, alice: User) -> None:
    alice.deactivated_at = now()
    assert sign_in(client).status_code == 422


def test_a_person_without_a_password_cannot_sign_in_with_an_empty_one(client: TestClient, session: Session) -> None:
    make_person(session, "robot", kind="simulated")
    assert sign_in(client, "robot@example.org", "").status_code == 422


def test_unknown_people_cost_a_hash_like_known_ones(
    client: TestClient, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    real = passwords._hasher.verify_and_update

    def counted(password: str, stored: str):
        compared.append(stored)
        return real(password, stored)

    monkeypatch.setattr(passwords._hasher, "verify_and_update", counted)
    sign_in(client, "nobody@example.org")
    sign_in(client)
    assert len(set(compared)) == 2


def test_it_leads_back_to_where_one_came_from(client: TestClient, alice: User) -> None:
    asked = client.get("/me?x=1&y=2")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=/me%3Fx%3D1%26y%3D2")
    assert 'name="next" value="/me?x=1&amp;y=2"' in client.get(asked.headers["location"]).text
    assert sign_in(client, next="/me?x=1&y=2").headers["location"] == "/me?x=1&y=2"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil",
        "",
        " /me",
    ],
)
def test_it_never_leads_to_another_site(elsewhere: str) -> None:
    assert own_path(elsewhere) == "/"


def test_somebody_signed_in_is_led_on(client: TestClient, session: Session, alice: User) -> None:
    answer = browse_as(client, session, alice).get("/sign-in?next=/me")
    assert (answer.status_code, answer.headers["location"]) == (303, "/me")


def test_it_says_what_to_do_while_there_is_nobody(client: TestClient, session: Session) -> None:
    assert "invitation link that Pairloop printed" in client.get("/sign-in").text
    people.create_user(session, "first@example.org", ["admin"], PASSWORD)
    assert "invitation link that Pairloop printed" not in client.get("/sign-in").text


def test_an_expired_session_is_none(client: TestClient, session: Session, alice: User) -> None:
    browse_as(client, session, alice)
    session.scalars(select(LoginSession)).one().expires_at = now()
    assert client.get("/me").status_code == 303


def test_a_session_from_before_somebody_was_deactivated_is_none(
    client: TestClient, session: Session, alice: User
) -> None:
    browse_as(client, session, alice)
    alice.deactivated_at = now()
    session.flush()
    assert client.get("/me").status_code == 303


def test_signing_out_ends_the_session_in_the_database(client: TestClient, session: Session, alice: User) -> None:
    browse_as(client, session, alice)
    token = client.cookies[COOKIE]
    answer = client.post("/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    client.cookies.set(COOKIE, token)
    assert client.get("/me").status_code == 303


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/156.0 Safari/537.36 Edg/156.0", "Edge, Windows"),
        ("Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 Chrome/156.0 Mobile Safari/537.36", "Chrome, Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1", "Safari, iPhone"),
        ("curl/8.14", "curl/8.14"),
        ("", ""),
    ],
)
def test_it_names_browsers(user_agent: str, name: str) -> None:
    assert sessions.browser_name(user_agent) == name
