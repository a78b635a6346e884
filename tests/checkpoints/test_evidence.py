"""A model's page shows what speaks for and against it: pictures with tables, checks, what got worse, its card."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.checkpoints import cards, packages, pictures, trials
from app.models import Checkpoint, Project, Run, Snapshot, User
from tests.pairs import make_checkpoint, make_comparison, make_prompt
from tests.people import bearer, browse_as, make_person, make_project

REWARD = {
    "accuracy": 0.68, "accuracy_low": 0.63, "accuracy_high": 0.73, "n_heldout": 380.0, "length_baseline": 0.6,
    "ceiling": 0.9, "accuracy_strength_1": 0.55, "n_strength_1": 90.0, "accuracy_gap_small": 0.6, "n_gap_small": 120.0,
}  # fmt: skip
POLICY = {
    "win_rate": 0.7, "win_low": 0.61, "win_high": 0.78, "prompts": 48.0, "win_length_controlled": 0.66,
    "win_length_controlled_low": 0.55, "win_length_controlled_high": 0.74, "kl": 4.2,
}  # fmt: skip
CURVE = [{"confidence": 0.55, "right": 0.5, "low": 0.4, "high": 0.6, "answers": 80.0},
         {"confidence": 0.85, "right": 0.8, "low": 0.7, "high": 0.9, "answers": 70.0}]  # fmt: skip
FIGURES = {"win_rate": 0.1, "reward": -0.4, "reward_before": 0.3}
WORSE = {"prompt": "Name <b>a tree</b>.", "before": "Oak.", "after": "No.", **FIGURES}


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def olga(session: Session, client: TestClient) -> User:
    person = make_person(session, "olga", "operator")
    browse_as(client, session, person)
    return person


@pytest.fixture
def policy(session: Session, project: Project) -> Checkpoint:
    """A candidate that was evaluated and failed a gate."""
    made = make_checkpoint(session, project, "policy")
    made.metrics = POLICY
    check = {"name": "kl_budget", "passed": False, "found": 6.4, "needed": 6.0}
    made.gate = {"passed": False, "why": "Too far.", "forced": False, "checks": [check]}
    result = {"regressions": [WORSE], "spec": {"hyper": {"kl_budget": 6.0}}}
    params = {"checkpoint": str(made.id)}
    session.add(Run(project_id=project.id, kind="evaluate", status="succeeded", params=params, result=result))
    session.flush()
    return made


def test_shares_stand_where_they_belong() -> None:
    found = pictures.of_reward(REWARD)
    assert found is not None
    # 4 + 0.68 * 232 = 161.8 on a picture that is 240 wide.
    assert (found.rows[0].x, found.rows[0].x_low) == (161.8, 150.2)
    assert [row.label for row in found.rows] == [
        "On unseen prompts", "where slightly better", "where the lengths are close"
    ]  # fmt: skip
    assert [guide.value for guide in found.guides] == [0.5, 0.6, 0.9]
    # A share without an interval of its own gets Wilson's from its count: 0.55 of 90.
    assert found.rows[1].low == pytest.approx(0.447, abs=0.001)
    assert pictures.of_reward({}) is None
    point = pictures.calibration(CURVE)[1]
    # 28 + 0.35 * 2 * 184 = 156.8 to the right; 240 - (28 + 0.3 * 2 * 184) = 101.6 from above.
    assert (point.x, round(point.y, 1)) == (156.8, 101.6)


def test_a_reward_model_s_page_draws_it_and_has_the_figures_as_text(
    client: TestClient, session: Session, project: Project, olga: User
) -> None:
    made = make_checkpoint(session, project, "reward")
    made.metrics = REWARD
    session.get_one(Run, made.run_id).result = {"calibration": CURVE, "surprising": [{}] * 3}
    session.flush()
    shown = client.get(f"/projects/garden/checkpoints/{made.id}").text
    assert re.search(r"68 % <span class=\"range\">\[63, 73\]", shown)
    assert "by length alone, 60 %" in shown
    assert shown.count("<circle") == 5
    assert "3 of people" in shown
    assert "style=" not in shown


def test_a_policy_s_page_lists_what_it_failed_and_what_got_worse(
    client: TestClient, session: Session, olga: User, policy: Checkpoint
) -> None:
    shown = client.get(f"/projects/garden/checkpoints/{policy.id}").text
    assert "Close enough to the base model" in shown
    assert "at least 6.4, may be 6.0 nats" in shown
    assert "It spent 4.2 of 6.0 nats" in shown
    assert "One prompt got worse" in shown
    assert "Name &lt;b&gt;a tree&lt;/b&gt;." in shown
    assert "Mean reward +0.30 before, -0.40 now" in shown
    assert "Put it before people" in shown


def test_a_trial_runs_along_on_the_page_and_in_the_api(
    client: TestClient, session: Session, olga: User, policy: Checkpoint
) -> None:
    here = f"/projects/garden/checkpoints/{policy.id}"
    assert client.post(f"{here}/trial", data={"comparisons": "12", "promote": "true"}).status_code == 303
    shown = " ".join(client.get(here).text.split())
    assert "Against the base model: 0 of 12 pairs are written, none is answered yet." in shown
    assert "promoted by itself if it wins" in shown
    headers = bearer(session, olga)
    (told,) = client.get(f"/api/v1/checkpoints/{policy.id}/trials", headers=headers).json()["items"]
    assert (told["status"], told["wanted"], told["opponent"]) == ("open", 12, "base")
    client.post(f"{here}/trial/end")
    assert [one.trial.status for one in trials.of(session, policy)] == ["ended"]


def test_the_card_is_written_from_facts(session: Session, project: Project, policy: Checkpoint) -> None:
    card = {"answers": 512, "counts": {"source": {"page": 500, "chat": 12}}, "annotators": 3}
    snapshot = Snapshot(project_id=project.id, sha256="ab" * 32, url="file:///x", manifest=card)
    session.add(snapshot)
    session.flush()
    grandparent = make_checkpoint(session, project, "policy")
    policy.snapshot_id, policy.policy_parent_id = snapshot.id, grandparent.id
    session.flush()
    session.refresh(policy)
    text = cards.markdown(session, policy)
    assert f"- Started from: checkpoint {grandparent.id} ← tiny" in text
    assert "- Answers in its snapshot: 512 (`abababababab`)" in text
    assert "- … by source: 500 page, 12 chat" in text
    assert "- Guidelines in force: version 1" in text
    assert "It did not pass the check “kl_budget”." in text
    assert "on: `Name <b>a tree</b>.`" in text
    facts = cards.facts(session, policy)
    assert (facts["lineage"], facts["data"]["answers"]) == ([str(grandparent.id)], 512)


def test_the_inspector_begins_with_a_comparison(
    client: TestClient, session: Session, project: Project, olga: User
) -> None:
    pair = make_comparison(session, make_prompt(session, project, "What is a hedge?"))
    shown = client.get(f"/projects/garden/checkpoints/inspector?comparison={pair.id}").text
    assert "What is a hedge?</textarea>" in shown
    assert "A row of bushes.</textarea>" in shown
    assert client.get("/projects/garden/checkpoints/inspector?comparison=999").status_code == 404
    assert client.post("/projects/garden/checkpoints/inspector", data={"prompt": "x"}).status_code == 422
    assert client.post("/projects/garden/checkpoints/inspector/recent").status_code == 409


def test_a_package_is_asked_for_on_the_page_and_has_no_file_yet(
    client: TestClient, session: Session, olga: User, policy: Checkpoint
) -> None:
    here = f"/projects/garden/checkpoints/{policy.id}"
    assert client.post(f"{here}/package", data={"form": "adapter"}).status_code == 303
    (run,) = packages.of(session, policy)
    assert run.params == {"checkpoint": str(policy.id), "form": "adapter"}
    assert client.get(f"{here}/packages/{run.id}").status_code == 409
    assert client.post(f"{here}/package", data={"form": "pickle"}).status_code == 422
    alice = bearer(session, make_person(session, "alice", "annotator"))
    client.cookies.clear()
    assert client.get(f"/api/v1/packages/{run.id}", headers=alice).status_code == 403


def test_a_pickle_is_refused_on_the_page(client: TestClient, olga: User, project: Project) -> None:
    from tests.checkpoints.test_brought import ADAPTER, zipped

    file = zipped(ADAPTER | {"pytorch_model.bin": b""}).getvalue()
    refused = client.post("/projects/garden/checkpoints/bring", files={"file": ("model.zip", file)})
    assert refused.status_code == 422
    assert "may be a pickle" in refused.text
