"""Members of a project, and that a restricted one is never left without an admin."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts import people
from app.accounts.access import find_project
from app.database import open_session
from app.errors import Conflict
from app.models import Project, User, now
from app.projects import members
from tests.at_once import while_open
from tests.people import browse_as, make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def bob(client: TestClient, session: Session) -> User:
    person = make_person(session, "bob", "admin")
    browse_as(client, session, person)
    return person


def roles_of(session: Session, project: Project) -> dict[str, list[str]]:
    return {member.person.name: member.roles for member in members.listed(session, project)}


def test_a_person_becomes_a_member_changes_and_leaves(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    alice = make_person(session, "alice")
    form = {"email": " ALICE@example.org ", "roles": ["operator", "annotator"]}
    answer = client.post("/projects/garden/members", data=form)
    assert answer.headers["location"] == "/projects/garden/settings#members"
    assert roles_of(session, project) == {"Alice": ["annotator", "operator"]}
    client.post("/projects/garden/members", data={"email": alice.email, "roles": "admin"})
    assert roles_of(session, project) == {"Alice": ["admin"]}
    assert find_project(session, alice, "garden", "admin").roles == {"admin"}
    assert client.post(f"/projects/garden/members/{alice.id}/remove").status_code == 303
    assert roles_of(session, project) == {}


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"email": "nobody@example.org", "roles": "admin"}, "Nobody here has the e-mail address nobody@example.org."),
        ({"email": "<b>@example.org", "roles": "admin"}, "&lt;b&gt;@example.org"),
        ({"email": "bob@example.org"}, "Choose at least one role, or remove the member."),
        ({"email": "bob@example.org", "roles": "king"}, "There is no role &#39;king&#39;."),
    ],
)
def test_a_mistake_is_explained(
    client: TestClient, session: Session, project: Project, bob: User, form: dict[str, str], sentence: str
) -> None:
    answer = client.post("/projects/garden/members", data=form)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert roles_of(session, project) == {}


def test_a_restricted_project_keeps_an_admin(client: TestClient, session: Session, project: Project, bob: User) -> None:
    project.restricted = True
    members.let_in(session, project, bob, ["admin"])
    gone = make_person(session, "gone")
    members.let_in(session, project, gone, ["admin"])
    gone.deactivated_at = now()
    session.flush()
    for path, form in ((f"members/{bob.id}/remove", {}), ("members", {"email": bob.email, "roles": "annotator"})):
        answer = client.post(f"/projects/garden/{path}", data=form)
        assert answer.status_code == 409
        assert members.LAST_ADMIN in answer.text
    assert roles_of(session, project)["Bob"] == ["admin"]
    members.let_in(session, project, make_person(session, "olga"), ["admin"])
    assert client.post(f"/projects/garden/members/{bob.id}/remove").status_code == 303


def test_two_admins_who_remove_each_other_at_once_do_not_both_succeed(committed: None) -> None:
    with open_session() as session:
        project = Project(slug="race", name="Race", base_model="tiny", restricted=True)
        session.add(project)
        session.flush()
        pair = [people.create_user(session, f"race-{n}@example.org", [], None) for n in range(2)]
        for person in pair:
            members.let_in(session, project, person, ["admin"])

    def remove(person: User) -> Callable[[Session], None]:
        return lambda own: members.remove(own, own.get_one(Project, project.id), own.get_one(User, person.id))

    with pytest.raises(Conflict):
        while_open(remove(pair[0]), remove(pair[1]))
