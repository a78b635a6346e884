"""Every mistake is a problem document for programs, a toast for htmx, a page for people."""

import socket
import time

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app import errors
from app.accounts import invitations, sessions
from app.accounts.access import COOKIE
from app.database import open_session
from app.main import app
from tests.live_server import serving
from tests.people import bearer, browse_as, make_person, make_project

HTMX = {"HX-Request": "true"}


def test_a_program_gets_a_problem_document(client: TestClient, session: Session) -> None:
    answer = client.get("/api/v1/projects/nothing", headers=bearer(session, make_person(session, "alice")))
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is no project 'nothing' that you may see.",
    }


def test_an_openai_client_gets_openais_shape(client: TestClient) -> None:
    answer = client.get("/v1/models")
    assert answer.status_code == 401
    assert answer.json() == {
        "error": {"message": "Sign in first, or send a valid bearer token.", "type": "Unauthorized", "code": None}
    }


def test_a_person_gets_a_page_that_says_what_to_do(client: TestClient, session: Session) -> None:
    browse_as(client, session, make_person(session, "alice", "annotator"))
    answer = client.get("/projects/nothing")
    assert answer.status_code == 404
    assert "<title>Not Found · Pairloop</title>" in answer.text
    assert "There is no project &#39;nothing&#39; that you may see." in answer.text
    # Still signed in, so the way to everything else is there.
    assert 'href="/me"' in answer.text


def test_htmx_gets_a_toast_and_leaves_the_page_as_it_is(client: TestClient, session: Session) -> None:
    browse_as(client, session, make_person(session, "alice", "annotator"))
    answer = client.get("/projects/nothing", headers=HTMX)
    assert answer.status_code == 404
    assert answer.headers["hx-reswap"] == "none"
    assert answer.text.startswith('<div hx-swap-oob="beforeend:#toasts">')
    assert "There is no project &#39;nothing&#39; that you may see." in answer.text


def test_htmx_without_a_session_is_told_to_sign_in_instead_of_swapping_that_page_in(client: TestClient) -> None:
    answer = client.get("/me", headers=HTMX)
    assert (answer.status_code, answer.headers["hx-reswap"]) == (401, "none")
    assert "Sign in first" in answer.text


def test_who_leaves_while_sending_is_no_error_of_ours(committed: None, caplog: pytest.LogCaptureFixture) -> None:
    with open_session() as session:
        make_project(session)
        token = sessions.start(session, make_person(session, "alice", "annotator"), "Chromium")
    head = ["POST /projects/garden/label/1 HTTP/1.1", "Host: x", "Content-Length: 1000"]
    head += ["Content-Type: application/x-www-form-urlencoded", f"Cookie: {COOKIE}={token}"]
    with serving() as url:
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=10) as connection:
            connection.sendall(("\r\n".join(head) + "\r\n\r\noutcome=").encode())
            time.sleep(0.3)
        # The next request is answered after the server has noticed that the first one's sender is gone.
        time.sleep(0.3)
        assert httpx.get(f"{url}/healthz", timeout=10).is_success
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("path", ["/nothing", "/nothing/at/all", "/static/nothing.css"])
def test_an_unknown_address_is_a_page(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text


def test_an_unknown_api_address_and_a_wrong_method_are_problem_documents(client: TestClient) -> None:
    for method, path, status in (("GET", "/api/v1/nothing", 404), ("DELETE", "/api/v1/projects", 405)):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("{", "JSON decode error."),
        ("[]", "Input should be a valid dictionary"),
        ('{"name": 5}', "name: Input should be a valid string."),
        ('{"name": "x", "sampling": 5}', "sampling: Input should be a valid dictionary."),
        ("", "Field required."),
    ],
)
def test_a_malformed_body_is_422_with_a_sentence(
    client: TestClient, session: Session, body: str, sentence: str
) -> None:
    headers = bearer(session, make_person(session, "bob", "admin")) | {"Content-Type": "application/json"}
    answer = client.post("/api/v1/projects", content=body, headers=headers)
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize("number", ["9223372036854775808", "99999999999999999999999", "-99999999999999999999"])
def test_a_number_beyond_the_database_is_422(client: TestClient, session: Session, number: str) -> None:
    browse_as(client, session, make_person(session, "bob", "admin"))
    answer = client.get(f"/people/{number}")
    assert answer.status_code == 422
    assert "cannot be stored" in answer.text


def test_a_nul_byte_is_422_wherever_it_is(client: TestClient, session: Session) -> None:
    browse_as(client, session, make_person(session, "alice", "annotator"))
    make_project(session)
    for answer in (
        client.post("/me/name", data={"name": "nul \x00"}),
        client.post("/sign-in", data={"email": "nul \x00@example.org", "password": "x"}),
        client.get("/projects/gar%00den"),
    ):
        assert answer.status_code == 422
        assert "cannot be stored" in answer.text


def test_a_breakdown_tells_nothing_of_the_inside(
    client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(session: Session) -> bool:
        raise RuntimeError("the wire is cut")

    monkeypatch.setattr(invitations, "has_first_person", breaks)
    answer = TestClient(app, raise_server_exceptions=False).get("/sign-in")
    assert answer.status_code == 500
    assert "Something broke on our side" in answer.text
    assert "the wire is cut" not in answer.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadInput, 422),
        (errors.SignInNeeded, 401),
        (errors.NotAllowed, 403),
        (errors.NotFound, 404),
        (errors.Conflict, 409),
        (errors.Gone, 410),
        (errors.TooMany, 429),
        (errors.Unavailable, 503),
    ],
)
def test_each_kind_has_its_status_and_a_sentence_of_its_own(error: type[errors.DomainError], status: int) -> None:
    assert error().status == status
    assert error().message.endswith(".")
    assert error("Another sentence.").message == "Another sentence."
