"""Members of a project, and that a restricted one is never left without an admin."""

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts import invitations, people
from app.accounts.access import find_project
from app.database import open_session
from app.errors import Conflict
from app.models import AuditEvent, Invitation, Project, User, now
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
    return {member.person.name: member.roles for member in members.listed(session, project).rows}


def test_a_person_becomes_a_member_changes_and_leaves(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    alice = make_person(session, "alice")
    form = {"email": " ALICE@example.org ", "roles": ["operator", "annotator"]}
    answer = client.post("/projects/garden/members", data=form)
    assert answer.headers["location"] == "/projects/garden/members"
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


API = "/api/v1/projects/garden/members"


def test_programs_read_and_change_them(client: TestClient, session: Session, project: Project, bob: User) -> None:
    alice = make_person(session, "alice")
    made = client.put(API, json={"email": "ALICE@example.org", "roles": ["operator", "annotator"]})
    shown = {
        "person": str(alice.id), "email": "alice@example.org", "name": "Alice",
        "roles": ["annotator", "operator"], "deactivated": False,
    }  # fmt: skip
    assert made.json() == shown
    assert client.get(API).json() == {"items": [shown], "next": None}
    assert client.get(f"{API}?q=role:admin").json()["items"] == []
    assert client.put(API, json={"email": "alice@example.org", "roles": []}).status_code == 422
    assert client.put(API, json={"email": "nobody@example.org", "roles": ["admin"]}).status_code == 422
    assert client.delete(f"{API}?email=alice@example.org").status_code == 204
    assert client.delete(f"{API}?email=alice@example.org").status_code == 204
    assert client.get(API).json()["items"] == []
    told = session.scalars(select(AuditEvent.action).where(AuditEvent.project_id == project.id).order_by(AuditEvent.id))
    assert told.all() == ["member_let_in", "member_removed"]


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_only_admins_do(client: TestClient, session: Session, project: Project, method: str) -> None:
    browse_as(client, session, make_person(session, "olga", "operator"))
    assert client.request(method, API, params={"email": "olga@example.org"}).status_code == 403
    assert client.get("/projects/garden/members").status_code == 403
    assert client.post("/projects/garden/members/invitations", data={"roles": "admin"}).status_code == 403


def test_a_projects_admin_invites_into_it_alone(client: TestClient, session: Session, project: Project) -> None:
    carol = make_person(session, "carol")
    members.let_in(session, project, carol, ["admin"])
    browse_as(client, session, carol)
    form = {"email": "eve@example.org", "roles": ["annotator", "operator"], "days": "30"}
    shown = client.post("/projects/garden/members/invitations", data=form).text
    link = re.search(r'value="http://testserver(/invitations/[^"]+)"', shown)
    assert link is not None
    assert "ends in 30 days" in shown
    assert "Choose at least one role in the project" in client.post("/projects/garden/members/invitations").text
    client.cookies.clear()
    assert "You were invited into the project Garden." in client.get(link[1]).text
    client.post(link[1], data={"name": "Eve", "password": "correct horse"})
    eve = session.scalars(select(User).where(User.name == "Eve")).one()
    assert eve.roles == []
    assert roles_of(session, project)["Eve"] == ["annotator", "operator"]


def test_somebody_who_is_here_joins_and_keeps_what_they_had(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    alice, mallory = make_person(session, "alice"), make_person(session, "mallory")
    members.let_in(session, project, alice, ["annotator"])
    for_alice = invitations.invite(session, bob, [], alice.email or "", project=project, project_roles=["operator"])
    general = invitations.invite(session, bob, ["annotator"])
    client.cookies.clear()
    assert client.post(f"/invitations/{for_alice}/join").status_code == 401
    browse_as(client, session, mallory)
    assert "for another e-mail address" in client.post(f"/invitations/{for_alice}/join").text
    assert "this invitation is for a new one" in client.post(f"/invitations/{general}/join").text
    browse_as(client, session, alice)
    assert "Join as Alice" in client.get(f"/invitations/{for_alice}").text
    assert client.post(f"/invitations/{for_alice}/join").headers["location"] == "/projects/garden"
    assert roles_of(session, project) == {"Alice": ["annotator", "operator"]}
    assert client.post(f"/invitations/{for_alice}/join").status_code == 410


def test_an_invitation_is_taken_back_by_its_projects_admins_alone(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    token = invitations.invite(session, bob, [], project=project, project_roles=["annotator"])
    general = invitations.invite(session, bob, ["annotator"])
    of_garden, of_none = session.scalars(select(Invitation.id).order_by(Invitation.id))
    make_project(session, "other")
    page = "/projects/garden/members"
    assert "whoever has the link" in client.get(page).text
    assert client.post(f"/projects/other/members/invitations/{of_garden}/revoke").status_code == 404
    assert client.post(f"{page}/invitations/{of_none}/revoke").status_code == 404
    assert client.post(f"{page}/invitations/{of_garden}/revoke").status_code == 303
    assert client.get(f"/invitations/{token}").status_code == 410
    assert client.get(f"/invitations/{general}").status_code == 200


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"roles": [], "project_roles": []}, "gives_a_role"),
        ({"roles": ["admin"], "project_roles": ["admin"]}, "a_project_has_roles"),
    ],
)
def test_the_database_refuses_an_invitation_to_nothing(
    session: Session, bob: User, columns: dict[str, list[str]], constraint: str
) -> None:
    session.add(Invitation(token_hash=b"x", invited_by_id=bob.id, expires_at=now(), **columns))
    with pytest.raises(IntegrityError, match=constraint):
        session.flush()
