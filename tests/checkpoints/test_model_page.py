"""The page of a model names every figure in words and says what its numbers mean."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.checkpoints import figures
from app.models import Project
from tests.pairs import make_checkpoint
from tests.people import browse_as, make_person, make_project

ZERO = "zero is the average answer of tiny to this project's prompts: positive is better than that, negative worse."
WHOLE = "The whole language model with one number in the place of its words, started from an instant head"
REPORTED = {
    "accuracy": 0.68,
    "accuracy_gap_small": 0.61,
    "agreement": 0.75,
    "brier": 0.21,
    "ceiling": 0.85,
    "ece": 0.08,
    "ece_tempered": 0.02,
    "nll": 0.6,
    "repeat_agreement": 0.5,
    "self_agreement": 0.9,
    "temperature": 1.7,
}


@pytest.fixture
def project(session: Session, client: TestClient) -> Project:
    browse_as(client, session, make_person(session, "olga", "operator"))
    return make_project(session)


def page(client: TestClient, session: Session, project: Project, kind: str) -> str:
    made = make_checkpoint(session, project, kind)
    made.metrics = REPORTED if kind == "reward" else {"gain": 0.4}
    session.flush()
    return client.get(f"/projects/{project.slug}/checkpoints/{made.id}").text.replace("\n", " ")


def test_a_reward_models_figures_have_names(client: TestClient, session: Session, project: Project) -> None:
    shown = page(client, session, project, "reward")
    for name in REPORTED:
        assert f"<dt>{figures.NAMES[name]}</dt>" in shown
    assert "Temperature that calibrates it</dt><dd>1.7" in shown


def test_it_says_what_zero_is_and_what_the_checkpoint_is(
    client: TestClient, session: Session, project: Project
) -> None:
    shown = page(client, session, project, "reward")
    assert ZERO in shown
    assert WHOLE in shown
    assert "PPO follows this one, not the live estimate" in shown


def test_a_policys_rewards_have_the_same_zero(client: TestClient, session: Session, project: Project) -> None:
    shown = page(client, session, project, "policy")
    assert ZERO in shown
    assert WHOLE not in shown


def test_the_list_of_models_says_it_too(client: TestClient, session: Session, project: Project) -> None:
    make_checkpoint(session, project, "reward")
    assert ZERO in client.get(f"/projects/{project.slug}/checkpoints").text


def test_a_policy_without_a_reward_model_says_what_it_learnt_from(
    client: TestClient, session: Session, project: Project
) -> None:
    shown = page(client, session, project, "policy")
    assert "<dt>Learnt from</dt>       <dd>the answers themselves, by DPO</dd>" in shown
