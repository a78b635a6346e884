"""The API of prompts and comparisons: what is sent, what comes back, who may."""

import json

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import Comparison, Membership, Project, Prompt
from app.prompts import bodies
from tests.people import bearer, make_person, make_project

PROMPTS = "/api/v1/projects/garden/prompts"
COMPARISONS = "/api/v1/projects/garden/comparisons"


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def bob(session: Session, project: Project) -> dict[str, str]:
    return bearer(session, make_person(session, "bob", "admin"))


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_it_takes_a_list_or_lines_whatever_the_content_type(
    client: TestClient, bob: dict[str, str], content_type: str | None
) -> None:
    headers = bob | ({"Content-Type": content_type} if content_type else {})
    listed = client.post(PROMPTS, headers=headers, content=b'["one", {"prompt": "two"}]')
    assert (listed.status_code, listed.json()["added"]) == (200, 2)
    lines = b'"two"\n{broken\n{"messages": [{"role": "user", "content": "three"}]}\n'
    assert client.post(PROMPTS, headers=headers, content=lines).json() == {
        "added": 1,
        "duplicates": 1,
        "rejected": [
            {"line": 2, "why": "This is not JSON: expecting property name enclosed in double quotes at character 2."}
        ],
        "rejected_total": 1,
    }


def test_comparisons_answer_in_the_same_shape(client: TestClient, session: Session, bob: dict[str, str]) -> None:
    items = [{"prompt": "a", "responses": ["x", "y"]}, {"prompt": "b", "chosen": "x", "rejected": "y"}, {"prompt": "c"}]
    answer = client.post(COMPARISONS, headers=bob, json=items).json()
    assert (answer["added"], answer["duplicates"], answer["rejected"][0]["line"]) == (2, 0, 3)
    assert sorted(one.status for one in session.query(Comparison)) == ["complete", "waiting"]


@pytest.mark.parametrize("path", [PROMPTS, COMPARISONS])
def test_nothing_and_too_much_are_refused_with_a_sentence(
    client: TestClient, bob: dict[str, str], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = client.post(path, headers=bob, content=b" \n")
    assert (nothing.status_code, nothing.headers["content-type"]) == (422, "application/problem+json")
    assert "There is nothing in it" in nothing.json()["detail"]
    monkeypatch.setattr(bodies, "MOST", 100)
    for content in (b'"' + b"x" * 200 + b'"', iter([b'"', b"x" * 200, b'"'])):
        much = client.post(path, headers=bob, content=content)
        assert (much.status_code, much.json()["detail"]) == (413, bodies.TOO_MUCH)


def test_the_list_pages_by_cursor_newest_first_and_searches(client: TestClient, bob: dict[str, str]) -> None:
    client.post(
        PROMPTS, headers=bob, json=[{"prompt": f"Prompt {n}", "tags": ["t"] if n == 2 else []} for n in range(5)]
    )
    first = client.get(PROMPTS, headers=bob, params={"limit": 3}).json()
    assert [one["messages"][0]["content"] for one in first["items"]] == ["Prompt 4", "Prompt 3", "Prompt 2"]
    rest = client.get(PROMPTS, headers=bob, params={"limit": 3, "cursor": first["next"]}).json()
    assert ([one["messages"][0]["content"] for one in rest["items"]], rest["next"]) == (["Prompt 1", "Prompt 0"], None)
    tagged = client.get(PROMPTS, headers=bob, params={"q": "tag:t"}).json()["items"]
    assert [(one["tags"], one["sampled"], one["times_sampled"], one["withdrawn"]) for one in tagged] == [
        (["t"], True, 0, None)
    ]
    assert client.get(PROMPTS, headers=bob, params={"cursor": "x"}).status_code == 422


@pytest.mark.parametrize(("name", "roles", "status"), [("alice", ["annotator"], 403), ("olga", ["operator"], 403)])
def test_only_admins_may(
    client: TestClient, session: Session, project: Project, name: str, roles: list[str], status: int
) -> None:
    headers = bearer(session, make_person(session, name, *roles))
    for path in (PROMPTS, COMPARISONS):
        assert client.post(path, headers=headers, json=["a"]).status_code == status
        assert client.post(path, json=["a"]).status_code == 401
    assert client.get(PROMPTS, headers=headers).status_code == status


def test_a_restricted_project_is_hidden_from_other_admins(
    client: TestClient, session: Session, project: Project, bob: dict[str, str]
) -> None:
    project.restricted = True
    carol = make_person(session, "carol")
    session.add(Membership(project_id=project.id, user_id=carol.id, roles=["admin"]))
    session.flush()
    assert client.post(PROMPTS, headers=bob, json=["a"]).status_code == 404
    assert client.post(PROMPTS, headers=bearer(session, carol), json=["a"]).status_code == 200


def test_a_body_of_many_lines_is_one_transaction(client: TestClient, session: Session, bob: dict[str, str]) -> None:
    lines = "\n".join(json.dumps(f"Prompt {n}") for n in range(2500))
    assert client.post(PROMPTS, headers=bob, content=lines).json()["added"] == 2500
    assert session.query(Prompt).count() == 2500
