"""A project's own page: where it stands, what happens next, what one may do there."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import find_project
from app.models import Checkpoint, Project, Run, User, now
from app.projects import members, standing
from app.runs import loop
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
    """What a person who annotates is told."""
    person = session.scalar(select(User).where(User.name == "Alice")) or make_person(session, "alice", "annotator")
    access = find_project(session, person, project.slug, None)
    return " ".join(standing.what_happens_next(session, access, loop.of(session, project)))


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
    shown = browse_as(client, session, alice).get("/projects/garden").text
    assert re.findall(r"<dt>([^<]*)</dt><dd>(\d+)</dd>", shown) == [
        ("Pairs waiting", "2"),
        ("Answers", "1"),
        ("New since the last training", "1"),
    ]


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


def test_where_no_pair_waits_it_says_why(session: Session, project: Project) -> None:
    assert next_of(session, project).startswith("There are no prompts yet. An admin brings prompts in")
    make_prompt(session, project)
    assert next_of(session, project).startswith("Waiting for the model. ")
    session.add(Run(project_id=project.id, kind="sample", status="running", trigger="stock", message="Draws."))
    session.flush()
    assert next_of(session, project).startswith("The model is writing the next pairs. ")


def test_where_pairs_wait_it_says_when_the_model_learns(session: Session, project: Project) -> None:
    comparison = make_comparison(session, make_prompt(session, project))
    assert next_of(session, project) == "Training waits for labels: pick the better answer of some pairs first."
    make_answer(session, comparison, make_person(session, "bob", "annotator"))
    project.retraining = {"every": 3}
    assert next_of(session, project) == "The next chain starts after 2 more answers."


def test_where_none_waits_and_something_was_answered_it_says_both(session: Session, project: Project) -> None:
    done = make_comparison(session, make_prompt(session, project), status="complete")
    make_answer(session, done, make_person(session, "bob", "annotator"))
    project.retraining = {"every": 3}
    sentences = next_of(session, project)
    assert sentences.startswith("Waiting for the model. ")
    assert sentences.endswith("The next chain starts after 2 more answers.")


def test_while_it_trains_it_says_so(client: TestClient, session: Session, project: Project) -> None:
    run = Run(project_id=project.id, kind="chain", status="running", message="Step 1 of 4 & more.")
    session.add(run)
    session.flush()
    assert "The model is learning from your answers." in next_of(session, project)
    shown = browse_as(client, session, make_person(session, "olga", "operator")).get("/projects/garden").text
    assert f'href="/projects/garden/runs/{run.id}"' in shown
    assert "Step 1 of 4 &amp; more." in shown


def test_an_archived_project_says_so(client: TestClient, session: Session, project: Project) -> None:
    project.archived_at = now()
    assert next_of(session, project).startswith("This project is archived")
    shown = browse_as(client, session, make_person(session, "bob", "annotator")).get("/projects/garden").text
    assert "Start labelling" not in shown
