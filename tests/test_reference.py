"""The API's reference page names every call of the description, with fields and a line to copy."""

import shlex

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app import reference
from app.main import app
from tests.people import browse_as, make_person


def test_every_call_is_on_the_page_of_whoever_is_signed_in(client: TestClient, session: Session) -> None:
    assert client.get("/api", follow_redirects=False).status_code in (303, 401)
    page = browse_as(client, session, make_person(session, "mallory")).get("/api")
    assert page.status_code == 200
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            assert f"<b>{method.upper()}</b> {path}<" in page.text
    assert "<script>" not in page.text


def test_a_call_says_its_fields_and_can_be_copied() -> None:
    rooms = reference.calls(app.openapi())
    call = next(one for one in rooms["datasets"] if (one.method, one.path[-8:]) == ("POST", "/exports"))
    assert [(one.name, one.place, one.required) for one in call.fields][:3] == [
        ("slug", "path", True),
        ("layout", "body", False),
        ("format", "body", False),
    ]
    assert call.status == "202"
    words = shlex.split(call.curl)
    assert words[-1] == "$URL/api/v1/projects/{slug}/exports"
    assert words[words.index("--json") + 1].startswith('{"layout": "preference"')
    every = [one for calls in rooms.values() for one in calls]
    assert all(shlex.split(one.curl)[0] == "curl" for one in every)
    assert len({one.anchor for one in every}) == len(every)
