"""The operator's pages: what they show in each state, forms without JavaScript, and what they escape."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Project, Run, RunMetric, User, now
from app.runs import curves, samples
from app.runs.forms import params_of
from tests.pairs import make_answer, make_checkpoint, make_comparison, make_prompt
from tests.people import bearer, make_person

PAGE = "/projects/garden/runs"


@pytest.fixture
def operator(session: Session, olga: User) -> dict[str, str]:
    return bearer(session, olga)


def add_run(session: Session, project: Project, kind: str = "ppo", status: str = "running", **more: object) -> Run:
    run = Run(project_id=project.id, kind=kind, status=status, **more)
    session.add(run)
    session.flush()
    return run


def sentence(client: TestClient, operator: dict[str, str]) -> str:
    """What stands under the drawing of the loop."""
    page = client.get(PAGE, headers=operator)
    assert page.status_code == 200
    return page.text.split('<figcaption class="lead">')[1].split("</figcaption>")[0]


def test_the_loop_says_what_it_waits_for(
    client: TestClient, session: Session, project: Project, operator: dict[str, str], olga: User
) -> None:
    assert "waits for prompts" in sentence(client, operator)
    prompt = make_prompt(session, project)
    assert "waits for pairs" in sentence(client, operator)
    pair = make_comparison(session, prompt)
    assert "waits for labels" in sentence(client, operator)
    make_answer(session, pair, olga)
    assert "Nothing starts by itself" in sentence(client, operator)
    project.retraining = {"every": 20}
    session.flush()
    assert "after 19 more answers" in sentence(client, operator)
    project.retraining = {"every": 20, "cron": "0 3 * * *"}
    session.flush()
    assert "after 19 more answers, or at 20" in sentence(client, operator)
    chain = add_run(session, project, "chain", "failed", error="61 % [48, 72]", result={"answers_until": 10**9})
    assert sentence(client, operator) == "61 % [48, 72]"
    chain.status = "succeeded"
    add_run(session, project, message="Update 3 of 16.")
    assert sentence(client, operator) == "PPO: Update 3 of 16."


def test_the_arrow_in_use_is_alive(
    client: TestClient, session: Session, project: Project, operator: dict[str, str]
) -> None:
    assert "arrow alive" not in client.get(PAGE, headers=operator).text
    run = add_run(session, project, "sample", "queued")
    assert "arrow alive" not in client.get(PAGE, headers=operator).text
    run.status = "running"
    session.flush()
    assert client.get(PAGE, headers=operator).text.count("arrow alive") == 1


def test_a_form_starts_a_run_and_goes_to_its_page(
    client: TestClient, session: Session, operator: dict[str, str], answered: None
) -> None:
    form = {
        "kind": "reward",
        "preset": "quick",
        "force": "yes",
        "reward.lora_rank": "3",
        "reward.depth": "",
        "seed": "",
    }
    response = client.post(PAGE, data=form, headers=operator)
    run = session.scalars(select(Run)).one()
    assert (response.status_code, response.headers["location"]) == (303, f"{PAGE}/{run.id}")
    assert run.params == {"force": True, "preset": "quick", "hyper": {"lora_rank": 3}}
    assert client.get(response.headers["location"], headers=operator).status_code == 200


def test_a_wrong_form_comes_back_with_a_sentence_and_what_was_typed(
    client: TestClient, session: Session, operator: dict[str, str], answered: None
) -> None:
    response = client.post(PAGE, data={"kind": "chain", "ppo.updates": "many"}, headers=operator)
    assert response.status_code == 422
    assert "PPO: updates must be a number; it is &#39;many&#39;." in response.text
    assert 'value="many"' in response.text
    assert session.scalar(select(Run.id)) is None


def test_dpo_is_started_from_the_page_with_its_own_settings(
    client: TestClient, session: Session, operator: dict[str, str], answered: None
) -> None:
    text = client.get(PAGE, headers=operator).text
    assert text.count('name="dpo.beta"') == text.count('name="ppo.advantage"') / 2 == 1, "the chain has no DPO step"
    form = {"kind": "dpo", "preset": "quick", "dpo.beta": "0,2", "dpo.kl_budget": ""}
    assert client.post(PAGE, data=form, headers=operator).status_code == 303
    run = session.scalars(select(Run)).one()
    assert (run.kind, run.params) == ("dpo", {"preset": "quick", "hyper": {"beta": 0.2}})
    assert "DPO" in client.get(f"{PAGE}/{run.id}", headers=operator).text


def test_forms_ask_only_for_what_was_filled_in() -> None:
    assert params_of("chain", {"preset": "standard", "reward.depth": " 0,5 ", "ppo.updates": "4", "seed": "2"}) == {
        "seed": 2,
        "hyper": {"reward": {"depth": 0.5}, "ppo": {"updates": 4}},
    }
    assert params_of("sample", {"comparisons": "12", "ppo.updates": "4"}) == {"comparisons": 12}
    assert params_of("reward", {"reward.pooling": "mean"}) == {"hyper": {"pooling": "mean"}}


def test_a_running_run_shows_its_progress_and_can_be_cancelled(
    client: TestClient, session: Session, project: Project, operator: dict[str, str]
) -> None:
    run = add_run(session, project, phase="ppo", done=8, total=14, message="The reward rises.", attempt=2)
    for step in range(1, 9):
        at = now() - timedelta(seconds=(8 - step) * 50)
        session.add(RunMetric(run_id=run.id, phase="ppo", step=step, metrics={"reward": step / 8}, created_at=at))
    session.flush()
    text = client.get(f"{PAGE}/{run.id}", headers=operator).text
    assert "Update 8 of 14, 5 minutes left, reward rising." in text
    assert "The reward rises." in text
    assert "died once" in text
    assert '<progress max="14" value="8"' in text
    assert 'class="line"' in text
    assert f'data-live="{PAGE}/{run.id}/live"' in text
    assert client.post(f"{PAGE}/{run.id}/cancel", headers=operator).status_code == 303


def test_a_failed_run_shows_why_and_can_be_started_again(
    client: TestClient, session: Session, operator: dict[str, str], project: Project, answered: None
) -> None:
    run = add_run(session, project, "reward", "failed", error="It broke <here>.", result={"log": "<trace>"})
    text = client.get(f"{PAGE}/{run.id}", headers=operator).text
    assert "It broke &lt;here&gt;." in text
    assert "&lt;trace&gt;" in text
    assert "data-live" not in text
    again = client.post(f"{PAGE}/{run.id}/retry", headers=operator)
    assert f"/runs/{run.id}" in client.get(again.headers["location"], headers=operator).text


def test_a_chain_shows_its_steps_and_a_step_its_chain(
    client: TestClient, session: Session, project: Project, operator: dict[str, str]
) -> None:
    chain = add_run(session, project, "chain")
    step = add_run(session, project, "reward", parent_id=chain.id, trigger="chain")
    assert f'href="{PAGE}/{step.id}"' in client.get(f"{PAGE}/{chain.id}", headers=operator).text
    assert f'href="{PAGE}/{chain.id}"' in client.get(f"{PAGE}/{step.id}", headers=operator).text
    listed = client.get(PAGE, headers=operator).text
    assert f'href="{PAGE}/{chain.id}"' in listed
    assert f'href="{PAGE}/{step.id}"' not in listed, "steps are listed on their chain's page"


def test_the_forms_offer_the_checkpoints_there_are(
    client: TestClient, session: Session, project: Project, operator: dict[str, str]
) -> None:
    make_checkpoint(session, project, "reward", "promoted")
    make_checkpoint(session, project, "reward")
    assert 'name="reward"' in client.get(PAGE, headers=operator).text


def test_operators_alone_see_runs(client: TestClient, session: Session, project: Project) -> None:
    run = add_run(session, project)
    for name, role in (("alice", "annotator"), ("bob", "admin"), ("mallory", None)):
        headers = bearer(session, make_person(session, name, *([role] if role else [])))
        for address in (PAGE, f"{PAGE}/{run.id}", f"{PAGE}/live", f"{PAGE}/{run.id}/live"):
            assert client.get(address, headers=headers).status_code == 403
        for address in (PAGE, f"{PAGE}/{run.id}/cancel", f"{PAGE}/{run.id}/retry"):
            assert client.post(address, headers=headers).status_code == 403
    assert client.get(PAGE).headers["location"].startswith("/sign-in")


def test_samples_mark_the_words_that_changed_and_escape_all() -> None:
    (shown,) = samples.shown([{"prompt": "p", "before": "Mulch the <b>roots", "after": "Mulch the leaves"}])
    assert str(shown["before"]) == "Mulch the <mark>&lt;b&gt;roots</mark>"
    assert str(shown["after"]) == "Mulch the <mark>leaves</mark>"


def test_curves_skip_gaps_and_thin_out_very_long_ones() -> None:
    rows = [
        RunMetric(phase="x", step=n, metrics={"loss": None if n == 3 else n, "once": 1} if n else {}) for n in range(6)
    ]
    phase = curves.of("x", rows)
    loss = next(curve for curve in phase.curves if curve.name == "loss")
    assert [step for step, _ in loss.points] == [1, 2, 4, 5]
    assert loss.line.startswith("M6.0,112.0L")
    assert loss.line.endswith("250.0,20.0")
    long = curves.of("x", [RunMetric(phase="x", step=n, metrics={"loss": 1.0}) for n in range(10_000)]).curves[0]
    assert len(long.points) <= curves.MOST_POINTS + 1
    assert long.points[-1][0] == 9_999
