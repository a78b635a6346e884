"""The page of guidelines: read by members, written in versions by admins."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import GuidelineVersion, Project, User
from app.projects import guidelines
from tests.people import browse_as, make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def bob(client: TestClient, session: Session) -> User:
    person = make_person(session, "bob", "admin")
    browse_as(client, session, person)
    return person


def test_a_new_version_holds_and_the_old_one_can_be_read(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    answer = client.post("/projects/garden/guidelines", data={"text": "Be **brief**.\r\nAlways."})
    assert (answer.status_code, answer.headers["location"]) == (303, "/projects/garden/guidelines")
    held = guidelines.current(session, project)
    assert held is not None
    assert (held.version, held.text, held.written_by_id) == (2, "Be **brief**.\nAlways.", bob.id)
    shown = client.get("/projects/garden/guidelines").text
    assert "<strong>brief</strong>" in shown
    assert "<td>Bob</td>" in shown
    older = client.get("/projects/garden/guidelines?version=1").text
    assert "Prefer the answer you would rather receive.</p>" in older
    assert "to version 2, which holds now" in older


def test_saving_the_same_text_makes_no_version(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    client.post("/projects/garden/guidelines", data={"text": " Prefer the answer you would rather receive. "})
    assert [version.version for version, _ in guidelines.versions(session, project)] == [1]


def test_a_version_that_is_not_there_is_404(client: TestClient, project: Project, bob: User) -> None:
    assert client.get("/projects/garden/guidelines?version=9").status_code == 404
    assert client.get("/projects/garden/guidelines?version=x").status_code == 422
    assert client.get("/projects/garden/guidelines?version=99999999999999999999").status_code == 422


def test_too_long_a_text_is_kept_in_the_form(client: TestClient, session: Session, project: Project, bob: User) -> None:
    answer = client.post("/projects/garden/guidelines", data={"text": "long " * 4001})
    assert answer.status_code == 422
    assert "at most 20,000 can be shown" in answer.text
    assert "long long long" in answer.text
    assert guidelines.current(session, project).version == 1


@pytest.mark.parametrize("roles", [(), ("annotator",), ("operator",)])
def test_only_admins_write(client: TestClient, session: Session, project: Project, roles: tuple[str, ...]) -> None:
    browse_as(client, session, make_person(session, "mallory", *roles))
    shown = client.get("/projects/garden/guidelines")
    assert shown.status_code == 200
    assert "Save as a new version" not in shown.text
    assert client.post("/projects/garden/guidelines", data={"text": "Mine"}).status_code == 403
    assert guidelines.current(session, project).version == 1


def test_without_any_it_says_what_to_prefer(client: TestClient, session: Session, bob: User) -> None:
    session.add(Project(slug="bare", name="Bare", base_model="tiny"))
    session.flush()
    assert "There are none yet." in client.get("/projects/bare/guidelines").text
    assert "There are none yet." in client.get("/projects/bare").text


def test_the_versions_in_force_of_several_projects_come_in_one_go(session: Session, project: Project) -> None:
    pond, bare = make_project(session, "pond"), Project(slug="bare", name="Bare", base_model="tiny")
    session.add(bare)
    session.add(GuidelineVersion(project_id=pond.id, version=2, text="Second."))
    session.flush()
    found = guidelines.current_of(session, [project, pond, bare])
    assert {key: version.version for key, version in found.items()} == {project.id: 1, pond.id: 2}
