"""Guidelines are read before the next pair: the first time whole, afterwards with what changed, and once a version."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.labeling import readings
from app.labeling.readings import Line, changes
from app.models import GuidelineVersion, Project, User
from tests.labeling.pairs import make_comparison
from tests.people import bearer, browse_as, make_person, make_project

LABEL = "/projects/garden/label"


@pytest.fixture
def project(session: Session) -> Project:
    project = make_project(session)
    make_comparison(session, project)
    return project


@pytest.fixture
def alice(session: Session, project: Project) -> User:
    """Alice has read the first version."""
    return make_person(session, "alice", "annotator")


def write(session: Session, project: Project, number: int, text: str) -> None:
    session.add(GuidelineVersion(project_id=project.id, version=number, text=text))
    session.flush()


def test_what_changed_is_marked_and_one_button_goes_on(
    client: TestClient, session: Session, project: Project, alice: User
) -> None:
    browser = browse_as(client, session, alice)
    assert "Name a tree." in browser.get(LABEL).text
    write(session, project, 2, "Prefer the answer you would rather receive.\nPrefer the <shorter> one.")
    shown = browser.get(LABEL).text
    assert "The guidelines have changed" in shown
    assert "data-assignment" not in shown
    assert "Prefer the &lt;shorter&gt; one.</ins>" in shown
    assert "<del>" not in shown
    assert browser.post(f"{LABEL}/guidelines/2").headers["location"] == LABEL
    assert "Name a tree." in browser.get(LABEL).text
    assert browser.post(f"{LABEL}/guidelines/2").status_code == 303, "said twice"


def test_the_newest_is_asked_even_where_an_older_one_was_read_meanwhile(
    client: TestClient, session: Session, project: Project, alice: User
) -> None:
    write(session, project, 2, "Two.")
    write(session, project, 3, "Three.")
    browser = browse_as(client, session, alice)
    shown = browser.post(f"{LABEL}/guidelines/2", headers={"HX-Request": "true"}).text
    assert "lines marked − are gone" in shown
    assert "Two.</del>" in shown
    assert "Three.</ins>" in shown


def test_somebody_new_reads_them_whole_and_an_empty_version_asks_for_nothing(
    client: TestClient, session: Session, project: Project
) -> None:
    write(session, project, 2, "Prefer **kind** answers.")
    stranger = make_person(session, "stranger", "annotator")
    write(session, project, 3, "## What to prefer")
    session.query(readings.GuidelineReading).filter_by(user_id=stranger.id).delete()
    browser = browse_as(client, session, stranger)
    shown = browser.get(LABEL).text
    assert "The guidelines come first" in shown
    assert "<ins>" not in shown
    write(session, project, 4, "")
    assert "Name a tree." in browser.get(LABEL).text


def test_programs_say_it_too_and_are_never_kept_from_a_pair(
    client: TestClient, session: Session, project: Project, alice: User
) -> None:
    write(session, project, 2, "Two.")
    headers = bearer(session, alice)
    assert client.post("/api/v1/projects/garden/assignments", headers=headers).status_code == 200
    assert client.post("/api/v1/projects/garden/guidelines/2/read", headers=headers).status_code == 204
    assert client.post("/api/v1/projects/garden/guidelines/9/read", headers=headers).status_code == 404
    assert "Name a tree." in browse_as(client, session, alice).get(LABEL).text


def test_lines_are_compared_in_their_order() -> None:
    assert changes("a\nb\nc", "a\nB\nc\nd") == [
        Line("same", "a"),
        Line("removed", "b"),
        Line("added", "B"),
        Line("same", "c"),
        Line("added", "d"),
    ]
