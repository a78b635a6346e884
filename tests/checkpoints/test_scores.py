"""The promoted reward model scores whatever responses an operator brings."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import Checkpoint, Project
from app.settings import settings
from tests.pairs import make_answer, make_checkpoint, make_comparison, make_prompt
from tests.people import bearer, make_person, make_project
from tests.workers.reward.test_model import make
from workers.language.model import load
from workers.reward.model import write

ASKED: dict[str, Any] = {"project": "garden", "prompt": "Name a tree.", "responses": ["Oak.", "I would rather not."]}


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def headers(session: Session) -> dict[str, str]:
    return bearer(session, make_person(session, "olga", "operator"))


@pytest.fixture
def trained(session: Session, project: Project) -> Checkpoint:
    """A promoted reward model with real files, in the store that the engine reads."""
    found = make_checkpoint(session, project, "reward", "promoted")
    found.url = f"{settings.artifacts}/checkpoints/scores"
    found.sha256 = write(make(load("tiny"), 1), found.url, {"mean": 0.5, "std": 2.0}, {})
    session.flush()
    return found


def test_an_operator_gets_a_score_for_each_response(
    client: TestClient, trained: Checkpoint, headers: dict[str, str], engine_url: str
) -> None:
    answer = client.post("/api/v1/score", json=ASKED, headers=headers)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["checkpoint"] == str(trained.id)
    first, second = found["scores"]
    assert first != second
    turned = {**ASKED, "responses": ASKED["responses"][::-1], "prompt": [{"role": "user", "content": "Name a tree."}]}
    assert client.post("/api/v1/score", json=turned, headers=headers).json()["scores"] == pytest.approx([second, first])


def test_without_a_promoted_reward_model_it_says_what_to_do(
    client: TestClient, session: Session, project: Project, headers: dict[str, str]
) -> None:
    make_checkpoint(session, project, "reward", "retired")
    answer = client.post("/api/v1/score", json=ASKED, headers=headers)
    assert answer.status_code == 409
    assert "Train one" in answer.json()["detail"]


def test_the_engine_s_refusal_is_passed_on(
    client: TestClient, trained: Checkpoint, headers: dict[str, str], engine_url: str
) -> None:
    answer = client.post("/api/v1/score", json=ASKED | {"responses": ["oak " * 600]}, headers=headers)
    assert answer.status_code == 422
    assert "Shorten it" in answer.json()["detail"]


def test_scores_are_for_operators(client: TestClient, session: Session, trained: Checkpoint) -> None:
    annotator = bearer(session, make_person(session, "alice", "annotator"))
    assert client.post("/api/v1/score", json=ASKED, headers=annotator).status_code == 403
    assert client.post("/api/v1/score", json=ASKED).status_code == 401


@pytest.mark.parametrize(
    "change",
    [{"prompt": ""}, {"responses": []}, {"responses": [""]}, {"responses": [7]}, {"prompt": [{"role": "user"}]}],
)
def test_what_cannot_be_scored_is_refused(
    client: TestClient, trained: Checkpoint, headers: dict[str, str], change: dict[str, Any]
) -> None:
    assert client.post("/api/v1/score", json=ASKED | change, headers=headers).status_code == 422


def test_the_inspector_asks_both_models_and_finds_who_disagrees(
    client: TestClient,
    session: Session,
    project: Project,
    trained: Checkpoint,
    headers: dict[str, str],
    engine_url: str,
) -> None:
    first, second = client.post("/api/v1/score", json=ASKED, headers=headers).json()["scores"]
    here = "/projects/garden/checkpoints/inspector"
    data = {"prompt": ASKED["prompt"], "response": [*ASKED["responses"], "", ""]}
    shown = client.post(here, data=data, headers=headers).text
    assert f"{first:+.2f}" in shown
    assert f"{second:+.2f}" in shown
    # One choice for either side: whatever it thinks of the two responses, it disagrees with one of them.
    for number, preferred in enumerate("ab"):
        pair = make_comparison(session, make_prompt(session, project, f"Name a tree, {number}."), status="complete")
        answer = make_answer(session, pair, make_person(session, f"alice{number}", "annotator"))
        answer.preferred = preferred
    session.flush()
    found = client.post(f"{here}/recent", headers=headers).text
    assert found.count("Preferred by the reward model") >= 1
