"""The address without a path leads to where somebody works."""

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import now
from tests.people import browse_as, make_person, make_project


def test_nobody_signed_in_goes_to_sign_in(client: TestClient) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/")


def test_one_project_is_opened_several_are_listed(client: TestClient, session: Session) -> None:
    browse_as(client, session, make_person(session, "alice", "annotator"))
    assert client.get("/").headers["location"] == "/projects"
    make_project(session, "garden")
    assert client.get("/").headers["location"] == "/projects/garden"
    hidden = make_project(session, "hidden")
    hidden.restricted = True
    old = make_project(session, "old")
    old.archived_at = now()
    session.flush()
    assert client.get("/").headers["location"] == "/projects/garden"
    make_project(session, "pond")
    assert client.get("/").headers["location"] == "/projects"
