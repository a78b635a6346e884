"""Starting, reading, cancelling and repeating runs over the API: who may, what is refused, what is kept."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.models import Project, Run, User, now
from app.runs.hyper import HYPER
from app.settings import settings
from tests.pairs import make_checkpoint
from tests.people import bearer, make_person, make_project

RUNS = "/api/v1/projects/garden/runs"


@pytest.fixture
def operator(session: Session, olga: User) -> dict[str, str]:
    return bearer(session, olga)


def post(client: TestClient, headers: dict[str, str], kind: str, **params: Any) -> Any:
    return client.post(RUNS, json={"kind": kind, "params": params}, headers=headers)


def test_an_operator_starts_a_run_and_reads_it(
    client: TestClient, session: Session, operator: dict[str, str], answered: None
) -> None:
    response = post(client, operator, "reward", force=True, hyper={"lora_rank": 3})
    assert response.status_code == 202
    run = response.json()
    assert (run["kind"], run["status"], run["params"]) == (
        "reward",
        "queued",
        {"force": True, "hyper": {"lora_rank": 3}},
    )
    assert client.get(f"/api/v1/runs/{run['id']}", headers=operator).json() == run
    jobs = session.execute(text("select queue_name, lock, args from jobs.procrastinate_jobs")).all()
    project_id = session.scalar(select(Run.project_id))
    assert [tuple(job) for job in jobs] == [("train", f"train-{project_id}", {"run_id": int(run["id"])})]


def test_a_chain_begins_with_its_reward_model_and_hands_its_settings_on(
    client: TestClient, session: Session, operator: dict[str, str], answered: None
) -> None:
    hyper = {"reward": {"lora_rank": 3}, "ppo": {"updates": 2}}
    chain = post(client, operator, "chain", force=True, seed=5, hyper=hyper).json()
    step = session.scalars(select(Run).where(Run.parent_id == int(chain["id"]))).one()
    assert (step.kind, step.trigger) == ("reward", "chain")
    assert step.params == {"force": True, "seed": 5, "hyper": {"lora_rank": 3}}


@pytest.mark.parametrize(
    ("kind", "params", "words"),
    [
        ("import", {}, "Choose one of sample, reward, ppo, dpo, evaluate, chain"),
        ("export", {}, "cannot be started"),
        ("reward", {"updates": 3}, "no parameter 'updates'"),
        ("reward", {"hyper": {"nonsense": 3}}, "no setting 'nonsense'"),
        ("reward", {"hyper": {"lora_rank": "many"}}, "must be a number"),
        ("reward", {"hyper": 3}, "must be an object"),
        ("reward", {"force": "yes"}, "true or false"),
        ("reward", {"seed": -1}, "at least 0"),
        ("reward", {"preset": "lazy"}, "no preset 'lazy'"),
        ("chain", {"hyper": {"updates": 3}}, "by step"),
        ("chain", {"hyper": {"ppo": {"updates": 0}}}, "PPO: updates must lie between"),
        ("chain", {"hyper": {"dpo": {"epochs": 1}}}, "by step"),
        ("ppo", {"hyper": {"advantage": "rloo", "answers_per_prompt": 1}}, "set answers_per_prompt to 2 or more"),
        ("dpo", {"reward": "1"}, "no parameter 'reward'"),
        ("dpo", {"hyper": {"beta": 0}}, "DPO: beta must lie between"),
        ("sample", {"comparisons": 0}, "from 1 to"),
        ("sample", {"comparisons": True}, "from 1 to"),
        ("ppo", {}, "no reward model in use"),
        ("ppo", {"reward": "999"}, "no reward checkpoint '999'"),
        ("ppo", {"reward": "x"}, "no reward checkpoint 'x'"),
    ],
)
def test_what_cannot_work_is_refused_in_words(
    client: TestClient,
    session: Session,
    operator: dict[str, str],
    answered: None,
    kind: str,
    params: dict[str, Any],
    words: str,
) -> None:
    response = post(client, operator, kind, **params)
    assert response.status_code == 422
    assert words in response.json()["detail"]
    assert session.scalar(select(Run.id)) is None


def test_nothing_is_trained_from_nothing(
    client: TestClient, operator: dict[str, str], project: Project, session: Session
) -> None:
    for kind in ("reward", "dpo", "chain"):
        assert "Label some pairs first" in post(client, operator, kind).json()["detail"]
    assert "Bring prompts in" in post(client, operator, "sample").json()["detail"]
    make_checkpoint(session, project, "reward", "promoted")
    assert "no candidate" in post(client, operator, "evaluate").json()["detail"]


def test_no_engine_for_the_base_model_is_said_before_anything_starts(
    client: TestClient, operator: dict[str, str], answered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "engine_url", "other=http://127.0.0.1:1")
    assert "No engine serves the base model 'tiny'" in post(client, operator, "sample").json()["detail"]


def test_dpo_needs_answers_and_no_reward_model(
    client: TestClient, session: Session, operator: dict[str, str], answered: None
) -> None:
    run = post(client, operator, "dpo", preset="quick", hyper={"beta": 0.2}).json()
    assert (run["kind"], run["status"], run["params"]) == ("dpo", "queued", {"preset": "quick", "hyper": {"beta": 0.2}})
    assert session.scalars(text("select queue_name from jobs.procrastinate_jobs")).all() == ["train"]


def test_an_evaluation_takes_the_newest_candidate(
    client: TestClient, session: Session, operator: dict[str, str], project: Project
) -> None:
    make_checkpoint(session, project, "reward", "promoted")
    make_checkpoint(session, project, "policy")
    newest = make_checkpoint(session, project, "policy")
    make_checkpoint(session, project, "policy", "retired")
    assert post(client, operator, "evaluate").json()["params"]["checkpoint"] == str(newest.id)


def test_a_checkpoint_of_another_project_is_not_found(
    client: TestClient, session: Session, operator: dict[str, str], project: Project
) -> None:
    other = make_checkpoint(session, make_project(session, "other"), "reward", "promoted")
    assert "no reward checkpoint" in post(client, operator, "ppo", reward=str(other.id)).json()["detail"]


def test_an_archived_project_starts_nothing(
    client: TestClient, operator: dict[str, str], project: Project, answered: None
) -> None:
    project.archived_at = now()
    assert "archived" in post(client, operator, "reward").json()["detail"]


def test_who_may(
    client: TestClient, session: Session, project: Project, operator: dict[str, str], answered: None
) -> None:
    run = post(client, operator, "reward").json()["id"]
    people = {
        "alice": bearer(session, make_person(session, "alice", "annotator")),
        "bob": bearer(session, make_person(session, "bob", "admin")),
        "mallory": bearer(session, make_person(session, "mallory")),
    }
    for headers in people.values():
        assert post(client, headers, "reward").status_code == 403
        assert client.get(RUNS, headers=headers).status_code == 403
        assert client.get(f"/api/v1/runs/{run}", headers=headers).status_code == 403
        assert client.get(f"/api/v1/runs/{run}/metrics", headers=headers).status_code == 403
        assert client.post(f"/api/v1/runs/{run}/cancel", headers=headers).status_code == 403
        assert client.post(f"/api/v1/runs/{run}/retry", headers=headers).status_code == 403
    assert client.get(f"/api/v1/runs/{run}").status_code == 401
    assert client.get("/api/v1/runs/12345", headers=operator).status_code == 404
    assert client.get("/api/v1/runs/x", headers=operator).status_code == 404
    project.restricted = True
    session.flush()
    assert client.get(f"/api/v1/runs/{run}", headers=operator).status_code == 404, "not a member any more"


def test_a_reward_run_tells_what_surprised_it(
    client: TestClient, session: Session, project: Project, operator: dict[str, str], answered: None
) -> None:
    made = post(client, operator, "reward").json()
    assert made["surprising"] == []
    surprising = [{"comparison": "7", "probability": 0.02}]
    session.get_one(Run, int(made["id"])).result = {"surprising": surprising}
    session.flush()
    assert client.get(f"/api/v1/runs/{made['id']}", headers=operator).json()["surprising"] == surprising


def test_runs_are_listed_newest_first_page_by_page(
    client: TestClient, session: Session, operator: dict[str, str], answered: None
) -> None:
    ids = [post(client, operator, "reward").json()["id"] for _ in range(3)]
    first = client.get(RUNS, params={"limit": 2}, headers=operator).json()
    assert [run["id"] for run in first["items"]] == ids[:0:-1]
    second = client.get(RUNS, params={"limit": 2, "cursor": first["next"]}, headers=operator).json()
    assert ([run["id"] for run in second["items"]], second["next"]) == (ids[:1], None)


def test_a_queued_run_is_cancelled_at_once_and_may_be_started_again(
    client: TestClient, session: Session, operator: dict[str, str], answered: None
) -> None:
    run = post(client, operator, "reward", seed=3).json()["id"]
    assert client.post(f"/api/v1/runs/{run}/retry", headers=operator).status_code == 409
    assert client.post(f"/api/v1/runs/{run}/cancel", headers=operator).json()["status"] == "cancelled"
    assert client.post(f"/api/v1/runs/{run}/cancel", headers=operator).json()["status"] == "cancelled"
    again = client.post(f"/api/v1/runs/{run}/retry", headers=operator).json()
    assert (again["retry_of"], again["status"], again["params"]) == (run, "queued", {"seed": 3})


def test_cancelling_a_chain_cancels_its_step_and_the_other_way_round(
    client: TestClient, session: Session, operator: dict[str, str], answered: None
) -> None:
    for cancelled in ("chain", "reward"):
        chain = int(post(client, operator, "chain").json()["id"])
        both = list(session.scalars(select(Run).where((Run.id == chain) | (Run.parent_id == chain))))
        target = next(run.id for run in both if run.kind == cancelled)
        client.post(f"/api/v1/runs/{target}/cancel", headers=operator)
        assert {run.kind: run.status for run in both} == {"chain": "cancelled", "reward": "cancelled"}


def test_a_run_whose_worker_died_is_cancelled_without_it(
    client: TestClient, session: Session, operator: dict[str, str], answered: None
) -> None:
    run = post(client, operator, "reward").json()["id"]
    session.get_one(Run, int(run)).status = "running"
    session.flush()
    assert client.post(f"/api/v1/runs/{run}/cancel", headers=operator).json()["status"] == "cancelled"


def test_every_kind_of_training_has_a_name_in_words() -> None:
    from app.runs.steps import NAMES

    assert set(HYPER) < set(NAMES)
