"""The JSON API of projects."""

import json
from datetime import datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Membership, Project, User
from app.projects import members
from app.projects.projects import slug_of
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import bearer, make_person, make_project

BY_ITSELF = {"quiet": None, "timezone": "UTC", "stop_when_wrong": False}
TESTS = {"gold": 0, "own_repeats": 0, "qualification": 0, "qualification_share": 80}
"""How people are tested, unless a project says so: not at all."""
API = "/api/v1/projects"


@pytest.fixture
def bob(session: Session) -> User:
    return make_person(session, "bob", "admin")


@pytest.fixture
def as_bob(session: Session, bob: User) -> dict[str, str]:
    return bearer(session, bob)


def test_a_name_is_enough_and_nothing_trains_by_itself(client: TestClient, as_bob: dict[str, str]) -> None:
    answer = client.post(API, json={"name": "Tea & Gebäck"}, headers=as_bob)
    assert answer.status_code == 201
    made = answer.json()
    created = datetime.fromisoformat(made.pop("created"))
    assert created.utcoffset() is not None
    assert made.pop("id").isdecimal()
    assert made == {
        "slug": "tea-geback",
        "name": "Tea & Gebäck",
        "base_model": "tiny",
        "guidelines": "",
        "guideline_version": None,
        "labels_per_comparison": 1,
        "sampling": {"temperature": 0.9, "top_p": 0.95, "max_tokens": 80, "stock": 100, "full_distribution": 0.15},
        "labeling": {
            "strengths": 3,
            "rationale": "optional",
            "criteria": [],
            "repeats": 5,
            "order": "oldest",
            "show_agreement": False,
            **TESTS,
        },
        "retraining": {"every": None, "cron": None, **BY_ITSELF},
        "gates": {
            "accuracy": 0.5,
            "beat_length": True,
            "win_rate": 0.5,
            "equal_length": False,
            "kl_budget": None,
            "people": 0,
            "people_rate": 0.5,
            "automatic": True,
        },
        "serving": {"answer_twice": 0.25, "keep_prompts": False},
        "keeping": {"days": None, "newest": 10},
        "restricted": False,
        "archived": False,
    }


def test_everything_of_the_contract_is_kept(client: TestClient, as_bob: dict[str, str]) -> None:
    sent = {
        "name": "Garden",
        "guidelines": "Prefer the *kinder* one.",
        "base_model": "tiny",
        "labels_per_comparison": 3,
        "sampling": {"temperature": 0.7, "stock": 10},
        "labeling": {"strengths": 2, "criteria": ["helpful", "honest"]},
        "retraining": {"every": 50, "cron": "0 3 * * *"},
        "restricted": True,
    }
    made = client.post(API, json=sent, headers=as_bob).json()
    assert made["guidelines"] == sent["guidelines"]
    assert made["guideline_version"] == 1
    assert (made["labels_per_comparison"], made["restricted"]) == (3, True)
    assert (made["sampling"]["temperature"], made["sampling"]["stock"], made["sampling"]["top_p"]) == (0.7, 10, 0.95)
    criteria = ["helpful", "honest"]
    assert made["labeling"] == {
        "strengths": 2, "rationale": "optional", "criteria": criteria, "repeats": 5, "order": "oldest",
        "show_agreement": False, **TESTS
    }  # fmt: skip
    assert made["retraining"] == {"every": 50, "cron": "0 3 * * *", **BY_ITSELF}
    assert client.get(f"{API}/garden", headers=as_bob).json() == made


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "  "}, "Give the project a name."),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"name": None}, "name"),
        ({"base_model": "gpt-9"}, "No engine serves the base model 'gpt-9'; this installation has tiny."),
        ({"labels_per_comparison": 0}, "labels_per_comparison must be a whole number from 1 to 50, not 0."),
        ({"labels_per_comparison": 51}, "labels_per_comparison must be a whole number from 1 to 50, not 51."),
        ({"sampling": {"heat": 1}}, "sampling: 'heat' is not a setting."),
        ({"sampling": {"temperature": 3}}, "sampling: temperature must be a number from 0.05 to 2, not 3."),
        ({"sampling": {"stock": "many"}}, "sampling: stock must be a whole number"),
        ({"labeling": {"strengths": 4}}, "labeling: strengths must be a number from 1 to 3"),
        ({"labeling": {"criteria": ["a", "a"]}}, "labeling: criteria must be at most 12 names, each of them once."),
        ({"retraining": {"every": 0}}, "retraining: every must be a number from 1"),
        ({"retraining": {"cron": "at night"}}, "retraining: cron must have five fields"),
        ({"retraining": {"cron": 3}}, "retraining: cron must have five fields"),
        ({"retraining": {"cron": "0 0 31 2 *"}}, "retraining: cron must have five fields"),
        ({"guidelines": "x" * 20_001}, "20,001 characters; at most 20,000"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted."),
        ({"name": "nul \x00"}, "cannot be stored"),
        ({"name": "\ud800"}, "cannot be stored"),
        ({"labeling": {"criteria": ["nul \x00"]}}, "cannot be stored"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(
    client: TestClient, session: Session, as_bob: dict[str, str], changes: dict[str, object], sentence: str
) -> None:
    # Escaped as backslash-u, because half of a surrogate pair has no other way into a request.
    body = json.dumps({"name": "Garden"} | changes)
    answer = client.post(API, content=body, headers=as_bob | {"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert sentence in answer.json()["detail"]
    assert session.scalars(select(Project)).all() == []


@pytest.mark.parametrize("roles", [(), ("annotator",), ("operator",), ("annotator", "operator")])
def test_only_admins_make_and_change_projects(client: TestClient, session: Session, roles: tuple[str, ...]) -> None:
    headers = bearer(session, make_person(session, "mallory", *roles))
    project = make_project(session)
    assert client.post(API, json={"name": "Mine"}, headers=headers).status_code == 403
    refused = client.patch(f"{API}/garden", json={"name": "Mine"}, headers=headers)
    assert refused.status_code == 403
    assert "This needs the role admin in this project." in refused.json()["detail"]
    assert project.name == "Garden"
    assert client.get(f"{API}/garden", headers=headers).status_code == 200


def test_without_a_token_nothing(client: TestClient, session: Session) -> None:
    make_project(session)
    for answer in (
        client.get(API),
        client.post(API, json={"name": "Mine"}),
        client.get(f"{API}/garden"),
        client.patch(f"{API}/garden", json={"name": "Mine"}),
    ):
        assert answer.status_code == 401


def test_a_restricted_project_is_hidden_from_everybody_else(
    client: TestClient, session: Session, as_bob: dict[str, str]
) -> None:
    client.post(API, json={"name": "Secret", "restricted": True}, headers=as_bob)
    olga = bearer(session, make_person(session, "olga", "admin", "operator"))
    hidden = client.get(f"{API}/secret", headers=olga)
    missing = client.get(f"{API}/nothing", headers=olga)
    assert (hidden.status_code, missing.status_code) == (404, 404)
    assert hidden.json()["detail"].replace("secret", "nothing") == missing.json()["detail"]
    assert client.patch(f"{API}/secret", json={"restricted": False}, headers=olga).status_code == 404
    assert client.get(API, headers=olga).json()["items"] == []
    assert [item["slug"] for item in client.get(API, headers=as_bob).json()["items"]] == ["secret"]


def test_a_member_has_the_roles_of_the_project_alone(client: TestClient, session: Session) -> None:
    garden, pond = make_project(session), make_project(session, "pond")
    alice = make_person(session, "alice", "annotator")
    members.let_in(session, garden, alice, ["admin"])
    headers = bearer(session, alice)
    assert client.patch(f"{API}/garden", json={"name": "Alice's"}, headers=headers).status_code == 200
    assert client.patch(f"{API}/pond", json={"name": "Alice's"}, headers=headers).status_code == 403
    assert pond.name == "Pond"


def test_whoever_restricts_a_project_keeps_a_key(
    client: TestClient, session: Session, bob: User, as_bob: dict[str, str]
) -> None:
    project = make_project(session)
    assert client.patch(f"{API}/garden", json={"restricted": True}, headers=as_bob).status_code == 200
    key = session.scalars(select(Membership).where(Membership.project_id == project.id)).one()
    assert (key.user_id, key.roles) == (bob.id, ["admin"])
    assert client.patch(f"{API}/garden", json={"restricted": False}, headers=as_bob).json()["restricted"] is False


def test_a_patch_changes_what_is_sent_and_nothing_else(
    client: TestClient, session: Session, as_bob: dict[str, str]
) -> None:
    client.post(
        API,
        json={"name": "Garden", "sampling": {"temperature": 0.7, "stock": 10}, "retraining": {"every": 50}},
        headers=as_bob,
    )
    before = client.get(f"{API}/garden", headers=as_bob).json()
    after = client.patch(f"{API}/garden", json={"sampling": {"stock": 20}}, headers=as_bob).json()
    assert after == before | {"sampling": before["sampling"] | {"stock": 20}}
    assert client.patch(f"{API}/garden", json={}, headers=as_bob).json() == after
    back = client.patch(
        f"{API}/garden", json={"sampling": {"temperature": None}, "retraining": None}, headers=as_bob
    ).json()
    assert (back["sampling"]["temperature"], back["sampling"]["stock"]) == (0.9, 20)
    assert back["retraining"] == {"every": None, "cron": None, **BY_ITSELF}


def test_a_patch_with_one_mistake_changes_nothing(client: TestClient, session: Session, as_bob: dict[str, str]) -> None:
    project = make_project(session)
    answer = client.patch(f"{API}/garden", json={"name": "Pond", "sampling": {"top_p": 9}}, headers=as_bob)
    assert answer.status_code == 422
    assert project.name == "Garden"


def test_the_base_model_stays(client: TestClient, session: Session, as_bob: dict[str, str]) -> None:
    make_project(session)
    refused = client.patch(f"{API}/garden", json={"base_model": "other"}, headers=as_bob)
    assert refused.status_code == 422
    assert "Make a new project for another base model." in refused.json()["detail"]
    assert client.patch(f"{API}/garden", json={"base_model": "tiny"}, headers=as_bob).status_code == 200


def test_new_guidelines_are_a_new_version_and_the_same_ones_are_not(
    client: TestClient, session: Session, as_bob: dict[str, str]
) -> None:
    make_project(session)
    for text, version in (("Be kind.", 2), ("Be kind.\r\n", 2), ("Be brief.", 3), ("", 4)):
        shown = client.patch(f"{API}/garden", json={"guidelines": text}, headers=as_bob).json()
        assert (shown["guidelines"], shown["guideline_version"]) == (text.strip(), version)


def test_archiving_and_bringing_back(client: TestClient, session: Session, as_bob: dict[str, str]) -> None:
    project = make_project(session)
    assert client.patch(f"{API}/garden", json={"archived": True}, headers=as_bob).json()["archived"] is True
    first = project.archived_at
    client.patch(f"{API}/garden", json={"archived": True}, headers=as_bob)
    assert project.archived_at == first
    assert client.patch(f"{API}/garden", json={"archived": False}, headers=as_bob).json()["archived"] is False


def test_asking_for_fewer_answers_completes_what_has_enough(
    client: TestClient, session: Session, bob: User, as_bob: dict[str, str]
) -> None:
    project = make_project(session, labels_per_comparison=3)
    answered, skipped, fresh = (
        make_comparison(session, make_prompt(session, project, f"What is hedge {n}?")) for n in range(3)
    )
    make_answer(session, answered, bob)
    make_answer(session, skipped, bob, verdict="skipped")
    client.patch(f"{API}/garden", json={"labels_per_comparison": 1}, headers=as_bob)
    for comparison, status in ((answered, "complete"), (skipped, "waiting"), (fresh, "waiting")):
        session.refresh(comparison)
        assert comparison.status == status


def test_the_list_is_newest_first_and_comes_in_pages(
    client: TestClient, session: Session, as_bob: dict[str, str]
) -> None:
    for n in range(5):
        make_project(session, f"p{n}")
    seen, cursor = [], None
    for _ in range(3):
        found = client.get(API, params={"limit": 2} | ({"cursor": cursor} if cursor else {}), headers=as_bob).json()
        seen.append([item["slug"] for item in found["items"]])
        cursor = found["next"]
    assert seen == [["p4", "p3"], ["p2", "p1"], ["p0"]]
    assert cursor is None
    exactly_all = client.get(API, params={"limit": 5}, headers=as_bob).json()
    assert (len(exactly_all["items"]), exactly_all["next"]) == (5, None)
    assert exactly_all["items"][0]["guidelines"].startswith("Prefer")


@pytest.mark.parametrize("query", ["cursor=x", "cursor=0", "cursor=99999999999999999999", "limit=0", "limit=1000"])
def test_a_broken_cursor_or_limit_is_refused(client: TestClient, as_bob: dict[str, str], query: str) -> None:
    assert client.get(f"{API}?{query}", headers=as_bob).status_code == 422


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("First project", "first-project"),
        ("Tee & Gebäck", "tee-geback"),
        ("  --A/B test!--  ", "a-b-test"),
        ("한국어", "project"),
        ("💡", "project"),
        ("x" * 100, "x" * 60),
        ("../../etc/passwd", "etc-passwd"),
        ("<script>", "script"),
    ],
)
def test_an_address_is_made_from_the_name(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_addresses_are_never_shared_nor_a_pages_own(
    client: TestClient, session: Session, as_bob: dict[str, str]
) -> None:
    names = ["Garden", "garden!", "GARDEN", "New", "new", "Garden 2"]
    slugs = [client.post(API, json={"name": name}, headers=as_bob).json()["slug"] for name in names]
    assert slugs == ["garden", "garden-2", "garden-3", "new-2", "new-3", "garden-2-2"]
