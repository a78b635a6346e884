"""A project's own page: where it stands, what happens next, what one may do there."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import Checkpoint, Project, Run, now
from app.projects import members, standing
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import browse_as, make_person, make_project

LINKS = {
    "annotator": ("/label", "/history"),
    "admin": ("/prompts", "/exports", "/settings"),
    "operator": ("/runs", "/checkpoints"),
}


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


def next_of(session: Session, project: Project) -> str:
    return " ".join(standing.what_happens_next(project, standing.of(session, project)))


@pytest.mark.parametrize("role", ["annotator", "admin", "operator", ""])
def test_everybody_is_shown_the_doors_that_open_for_them(
    client: TestClient, session: Session, project: Project, role: str
) -> None:
    shown = browse_as(client, session, make_person(session, "somebody", *filter(None, [role]))).get("/projects/garden")
    assert shown.status_code == 200
    for owner, paths in LINKS.items():
        for path in paths:
            assert (f'href="/projects/garden{path}"' in shown.text) == (owner == role)
    assert 'href="/projects/garden/chat"' in shown.text
    assert ("Start labelling" in shown.text) == (role == "annotator")


def test_a_members_own_roles_open_doors_too(client: TestClient, session: Session, project: Project) -> None:
    mallory = make_person(session, "mallory")
    members.let_in(session, project, mallory, ["annotator"])
    assert "Start labelling" in browse_as(client, session, mallory).get("/projects/garden").text


def test_a_restricted_project_is_not_there_for_others(client: TestClient, session: Session, project: Project) -> None:
    project.restricted = True
    olga = make_person(session, "olga", "annotator", "admin", "operator")
    answer = browse_as(client, session, olga).get("/projects/garden")
    assert answer.status_code == 404
    assert "There is no project &#39;garden&#39; that you may see." in answer.text


def test_its_guidelines_are_rendered_and_harmless(client: TestClient, session: Session, project: Project) -> None:
    project.guidelines[0].text = "Be **kind**. <script>alert(1)</script> [x](javascript:alert(1))"
    project.name = "<script>alert(2)</script>"
    session.flush()
    shown = browse_as(client, session, make_person(session, "alice", "annotator")).get("/projects/garden").text
    assert "<strong>kind</strong>" in shown
    assert "<script>alert" not in shown
    assert 'href="javascript' not in shown


def test_it_counts_what_waits_and_what_was_answered(client: TestClient, session: Session, project: Project) -> None:
    alice = make_person(session, "alice", "annotator")
    for n in range(2):
        make_comparison(session, make_prompt(session, project, f"Question {n}?"))
    done = make_comparison(session, make_prompt(session, project, "Answered?"), status="complete")
    make_answer(session, done, alice)
    stands = standing.of(session, project)
    assert (stands.waiting, stands.answers, stands.new_answers) == (2, 1, 1)
    assert "<dd>2</dd>" in browse_as(client, session, alice).get("/projects/garden").text


def test_it_names_the_checkpoint_that_writes(client: TestClient, session: Session, project: Project) -> None:
    olga, alice = make_person(session, "olga", "operator"), make_person(session, "alice", "annotator")
    assert "the base model" in browse_as(client, session, olga).get("/projects/garden").text
    run = Run(project_id=project.id, kind="ppo", status="succeeded")
    session.add(run)
    session.flush()
    policy = Checkpoint(
        project_id=project.id, kind="policy", status="promoted", base_model="tiny", run_id=run.id, url="u", sha256="s"
    )
    session.add(policy)
    session.flush()
    link = f'href="/projects/garden/checkpoints/{policy.id}"'
    assert link in client.get("/projects/garden").text
    shown = browse_as(client, session, alice).get("/projects/garden").text
    assert f"checkpoint {policy.id}" in shown
    assert link not in shown


def test_without_prompts_it_says_that_they_are_missing(session: Session, project: Project) -> None:
    assert "There are no prompts" in next_of(session, project)


def test_while_the_first_pairs_are_written_it_says_so(session: Session, project: Project) -> None:
    make_prompt(session, project)
    assert "No pair waits right now." in next_of(session, project)
    run = Run(project_id=project.id, kind="sample", status="running", trigger="stock")
    session.add(run)
    session.flush()
    assert "The model is writing the next pairs" in next_of(session, project)
    run.status, run.error, run.finished_at = "failed", "The engine is down.", now()
    session.flush()
    assert "failed" in next_of(session, project)
    assert "The engine is down." in next_of(session, project)


def test_a_stock_of_nothing_is_explained(session: Session, project: Project) -> None:
    make_prompt(session, project)
    project.sampling = {"stock": 0}
    assert "the stock is set to 0" in next_of(session, project)


def test_while_pairs_wait_nothing_is_said_about_them(session: Session, project: Project) -> None:
    make_comparison(session, make_prompt(session, project))
    assert next_of(session, project) == "Nothing trains by itself here. An operator starts training under Runs."


def test_it_counts_down_to_training(session: Session, project: Project) -> None:
    project.retraining = {"every": 3}
    alice = make_person(session, "alice", "annotator")
    for n, sentence in enumerate(("after 3 more answers.", "after 2 more answers.", "after one more answer.")):
        assert sentence in next_of(session, project)
        make_answer(session, make_comparison(session, make_prompt(session, project, f"Question {n}?")), alice)
    # The chain starts with the third answer's own transaction; until it shows, the count never reads zero.
    assert "after one more answer." in next_of(session, project)


def test_it_names_the_hour_of_training(session: Session, project: Project) -> None:
    project.retraining = {"cron": "0 3 * * *"}
    tomorrow = now() + timedelta(days=1)
    day = now() if now().hour < 3 else tomorrow
    assert f"by itself on {day:%Y-%m-%d} 03:00 UTC" in next_of(session, project)
    project.retraining = {"cron": "0 3 * * *", "every": 5}
    assert "after 5 more answers, or on" in next_of(session, project)


def test_while_it_trains_it_says_so(client: TestClient, session: Session, project: Project) -> None:
    run = Run(project_id=project.id, kind="chain", status="running", message="Step 1 of 4 & more.")
    session.add(run)
    session.flush()
    assert "Training is under way." in next_of(session, project)
    shown = browse_as(client, session, make_person(session, "olga", "operator")).get("/projects/garden").text
    assert f'href="/projects/garden/runs/{run.id}"' in shown
    assert "Step 1 of 4 &amp; more." in shown


def test_an_archived_project_says_so(client: TestClient, session: Session, project: Project) -> None:
    project.archived_at = now()
    assert next_of(session, project).startswith("This project is archived")
    shown = browse_as(client, session, make_person(session, "alice", "annotator")).get("/projects/garden").text
    assert "Start labelling" not in shown
