"""No other site acts for a signed-in person, and every answer keeps the browser strict."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.settings import settings
from tests.people import bearer, browse_as, make_person

SAME = "http://testserver"

# What the browser says of where a request comes from, and whether it is let through.
CASES = [
    # Browsers that send Fetch Metadata: it decides alone.
    ({"Sec-Fetch-Site": "same-origin"}, True),
    ({"Sec-Fetch-Site": "none"}, True),
    ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, False),
    ({"Sec-Fetch-Site": "something-new"}, False),
    ({"Sec-Fetch-Site": "same-origin", "Origin": SAME}, True),
    ({"Sec-Fetch-Site": "cross-site", "Origin": SAME}, False),
    # Plain-http names in a local network: Chromium sends the origin only.
    ({"Origin": SAME}, True),
    ({"Origin": "http://evil.example"}, False),
    ({"Origin": "http://testserver.evil.example"}, False),
    ({"Origin": "http://testserver:8001"}, False),
    ({"Origin": "null"}, False),
    ({"Origin": ""}, False),
    # Behind a proxy that changes the host.
    ({"Origin": "https://labels.example.org"}, True),
    # Not a browser.
    ({}, True),
]


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "public_url", "https://labels.example.org")


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(("headers", "passes"), CASES)
def test_a_form_of_another_site_is_refused(
    client: TestClient, session: Session, headers: dict[str, str], passes: bool
) -> None:
    alice = make_person(session, "alice", "annotator")
    browse_as(client, session, alice)
    answer = client.post("/me/name", data={"name": "Changed"}, headers=headers)
    assert answer.status_code == (303 if passes else 403)
    session.refresh(alice)
    assert alice.name == ("Changed" if passes else "Alice")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_every_method_that_changes_something_is_guarded(client: TestClient, method: str) -> None:
    refused = client.request(method, "/api/v1/projects", headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403
    assert "came from another site" in refused.text


def test_links_from_other_sites_may_be_followed(client: TestClient) -> None:
    assert client.get("/sign-in", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_a_program_with_a_token_may_run_anywhere_but_not_beside_a_cookie(client: TestClient, session: Session) -> None:
    alice = make_person(session, "alice", "annotator")
    headers = bearer(session, alice) | {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}
    assert client.post("/me/name", data={"name": "By token"}, headers=headers).status_code == 303
    browse_as(client, session, alice)
    assert client.post("/me/name", data={"name": "Again"}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "path", ["/sign-in", "/healthz", "/nothing-here", "/static/app.css", "/people", "/api/v1/projects"]
)
def test_every_answer_keeps_the_browser_strict(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["form-action"] == "'self'"
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert ("cache-control" not in headers) if path.startswith("/static/") else headers["cache-control"] == "no-store"


def test_a_refusal_and_a_breakdown_are_strict_too(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.accounts import invitations
    from app.main import app

    refused = client.post("/sign-in", headers={"Sec-Fetch-Site": "cross-site"})
    assert "default-src 'none'" in refused.headers["content-security-policy"]

    def breaks(session: Session) -> bool:
        raise RuntimeError("the wire is cut")

    monkeypatch.setattr(invitations, "has_first_person", breaks)
    broken = TestClient(app, raise_server_exceptions=False).get("/sign-in")
    assert broken.status_code == 500
    assert "default-src 'none'" in broken.headers["content-security-policy"]
    assert "the wire is cut" not in broken.text


def test_only_https_asks_for_https(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "strict-transport-security" not in client.get("/healthz").headers
    monkeypatch.setattr(settings, "public_url", "https://labels.example.org")
    assert client.get("/healthz").headers["strict-transport-security"] == "max-age=31536000"
