"""The JSON API of labelling: its contract, who may use it, and that it never tells who wrote what."""

from datetime import datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.labeling.comparisons import add_comparison, add_response, find_or_add_prompt
from app.models import Assignment, Checkpoint, Project, Run, Snapshot, SnapshotAnswer
from tests.labeling.pairs import make_comparison, make_comparisons
from tests.people import bearer, make_person, make_project

CLAIM = "/api/v1/projects/garden/assignments"


@pytest.fixture
def garden(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def alice(session: Session) -> dict[str, str]:
    return bearer(session, make_person(session, "alice", "annotator"))


def claimed(client: TestClient, headers: dict[str, str]) -> dict[str, Any]:
    response = client.post(CLAIM, headers=headers)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_a_claim_shows_the_prompt_and_both_responses(
    client: TestClient, session: Session, garden: Project, alice: dict[str, str]
) -> None:
    make_comparison(session, garden)
    body = claimed(client, alice)
    assert set(body) == {"assignment", "prompt", "responses", "expires_at"}
    assert body["prompt"] == [{"role": "user", "content": "Name a tree."}]
    assert [shown["id"] for shown in body["responses"]] == [f"{body['assignment']}-1", f"{body['assignment']}-2"]
    assert {shown["text"] for shown in body["responses"]} == {"Oak", "Elm"}
    assert [set(shown) for shown in body["responses"]] == [{"id", "text"}] * 2
    assert datetime.fromisoformat(body["expires_at"]).utcoffset() is not None
    assert claimed(client, alice)["responses"] == body["responses"], "the holder sees the same again"


def test_nothing_left_is_an_empty_answer(client: TestClient, garden: Project, alice: dict[str, str]) -> None:
    response = client.post(CLAIM, headers=alice)
    assert (response.status_code, response.content) == (204, b"")


def test_an_answer_comes_back_as_it_was_stored_and_the_same_on_repeat(
    client: TestClient, session: Session, garden: Project, alice: dict[str, str]
) -> None:
    make_comparison(session, garden)
    body = claimed(client, alice)
    said = {
        "verdict": "preferred",
        "preferred": body["responses"][0]["id"],
        "strength": 3,
        "rationale": "It names one.",
        "flags": ["broken"],
        "seconds": 4.5,
    }
    address = f"/api/v1/assignments/{body['assignment']}/answer"
    stored = client.post(address, json=said, headers=alice)
    assert stored.status_code == 200, stored.text
    assert {name: stored.json()[name] for name in said} == said
    assert stored.json()["assignment"] == body["assignment"]
    assert stored.json()["guideline_version"] == 1
    again = client.post(address, json={**said, "seconds": 9}, headers=alice)
    assert (again.status_code, again.json()) == (200, stored.json())
    other = client.post(address, json={"verdict": "tie"}, headers=alice)
    assert other.status_code == 409
    assert other.headers["content-type"] == "application/problem+json"


def test_undo_reopens_until_a_snapshot_holds_the_answer(
    client: TestClient, session: Session, garden: Project, alice: dict[str, str]
) -> None:
    make_comparison(session, garden)
    body = claimed(client, alice)
    address = f"/api/v1/assignments/{body['assignment']}/answer"
    client.post(address, json={"verdict": "tie"}, headers=alice)
    assert client.delete(address, headers=alice).status_code == 204
    assert client.delete(address, headers=alice).status_code == 404
    assert claimed(client, alice)["assignment"] == body["assignment"]
    stored = client.post(address, json={"verdict": "both_bad"}, headers=alice).json()
    snapshot = Snapshot(project_id=garden.id, sha256="f" * 64, url="file:///s", manifest={})
    session.add(snapshot)
    session.flush()
    session.add(SnapshotAnswer(snapshot_id=snapshot.id, answer_id=int(stored["id"]), revision=1))
    session.flush()
    refused = client.delete(address, headers=alice)
    assert (refused.status_code, refused.json()["snapshot"]) == (409, str(snapshot.id))


def test_heartbeat_and_release(client: TestClient, session: Session, garden: Project, alice: dict[str, str]) -> None:
    make_comparison(session, garden)
    bob = bearer(session, make_person(session, "bob", "annotator"))
    address = f"/api/v1/assignments/{claimed(client, alice)['assignment']}"
    assert client.post(f"{address}/heartbeat", headers=alice).json()["expires_at"]
    assert client.post(CLAIM, headers=bob).status_code == 204
    assert client.delete(address, headers=alice).status_code == 204
    assert client.delete(address, headers=alice).status_code == 204
    assert client.post(CLAIM, headers=bob).status_code == 200
    assert client.post(f"{address}/heartbeat", headers=alice).status_code == 410
    assert client.post(f"{address}/answer", json={"verdict": "tie"}, headers=alice).status_code == 410


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({}, "verdict: Field required"),
        ({"verdict": "tie", "winner": "a"}, "winner: Extra inputs are not permitted"),
        ({"verdict": "preferred", "preferred": "1"}, "preferred must be the id of the better response"),
        ({"verdict": "tie", "flags": "broken"}, "flags: "),
        ({"verdict": "tie", "seconds": "soon"}, "seconds: "),
    ],
)
def test_a_wrong_answer_gets_a_sentence(
    client: TestClient, session: Session, garden: Project, alice: dict[str, str], said: dict[str, Any], sentence: str
) -> None:
    make_comparison(session, garden)
    address = f"/api/v1/assignments/{claimed(client, alice)['assignment']}/answer"
    response = client.post(address, json=said, headers=alice)
    assert response.status_code == 422
    assert sentence in response.json()["detail"]


def test_only_annotators_claim_and_only_the_holder_answers(
    client: TestClient, session: Session, garden: Project, alice: dict[str, str]
) -> None:
    make_comparison(session, garden)
    assert client.post(CLAIM).status_code == 401
    for name, *roles in (("bob", "admin"), ("olga", "operator"), ("mallory",)):
        response = client.post(CLAIM, headers=bearer(session, make_person(session, name, *roles)))
        assert response.status_code == 403, name
    assert client.post("/api/v1/projects/nowhere/assignments", headers=alice).status_code == 404
    address = f"/api/v1/assignments/{claimed(client, alice)['assignment']}"
    carl = bearer(session, make_person(session, "carl", "annotator"))
    for method, path in (
        ("POST", "/answer"),
        ("DELETE", "/answer"),
        ("POST", "/heartbeat"),
        ("DELETE", ""),
    ):
        json = {"verdict": "tie"} if path == "/answer" and method == "POST" else None
        assert client.request(method, address + path, json=json, headers=carl).status_code == 404
        assert client.request(method, address + path, json=json).status_code == 401
    garden.restricted = True
    session.flush()
    assert client.post(CLAIM, headers=alice).status_code == 404


@pytest.mark.parametrize("id", ["0", "9" * 30, "x"])
def test_an_assignment_that_cannot_be_is_no_server_error(client: TestClient, alice: dict[str, str], id: str) -> None:
    assert client.post(f"/api/v1/assignments/{id}/heartbeat", headers=alice).status_code == 422


def test_nothing_tells_who_wrote_which(
    client: TestClient, session: Session, garden: Project, alice: dict[str, str]
) -> None:
    run = Run(project_id=garden.id, kind="ppo", status="succeeded")
    session.add(run)
    session.flush()
    checkpoint = Checkpoint(
        project_id=garden.id,
        kind="policy",
        base_model="secret-base",
        run_id=run.id,
        url="file:///secret",
        sha256="5ec7e7",
    )
    session.add(checkpoint)
    session.flush()
    prompt, _ = find_or_add_prompt(session, garden, [{"role": "user", "content": "Hi"}], sampled=True)
    sampling = {"temperature": 0.123, "seed": 4711}
    a = add_response(
        session, prompt, "Hello", source="sample", checkpoint=checkpoint, base_model="secret-base", sampling=sampling
    )
    b = add_response(session, prompt, "Good day", source="sample", base_model="secret-base", sampling=sampling)
    add_comparison(session, garden, prompt, a, b, source="evaluation", purpose="evaluation")
    claim = client.post(CLAIM, headers=alice)
    answer = client.post(
        f"/api/v1/assignments/{claim.json()['assignment']}/answer", json={"verdict": "tie"}, headers=alice
    )
    for told in (claim.text, answer.text):
        for secret in ("secret", "5ec7e7", "0.123", "4711", "evaluation", "checkpoint", "sample"):
            assert secret not in told


def test_a_fast_client_labels_its_way_through(
    client: TestClient, session: Session, garden: Project, alice: dict[str, str]
) -> None:
    comparisons = make_comparisons(session, garden, 5)
    seen = []
    while (response := client.post(CLAIM, headers=alice)).status_code == 200:
        body = response.json()
        said = {"verdict": "preferred", "preferred": body["responses"][1]["id"], "strength": 1}
        stored = client.post(f"/api/v1/assignments/{body['assignment']}/answer", json=said, headers=alice)
        seen.append(session.get_one(Assignment, int(stored.json()["assignment"])).comparison_id)
    assert seen == [comparison.id for comparison in comparisons]
