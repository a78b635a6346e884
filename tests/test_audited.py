"""What is done in every room is written into the audit log, by whom and about what, in the same transaction."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.checkpoints import checkpoints
from app.datasets import exports
from app.datasets.filters import Filters
from app.models import AuditEvent, Checkpoint, Project, Prompt, Run, User
from app.projects import guidelines
from app.prompts import prompts
from app.prompts.bodies import Entry
from app.quality import standings
from app.runs import runs
from tests.pairs import make_answer, make_comparison
from tests.people import make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    project = make_project(session)
    messages = [{"role": "user", "content": "Why?"}]
    session.add(Prompt(project_id=project.id, messages=messages, hash="why", holdout=False))
    session.flush()
    return project


@pytest.fixture
def access(session: Session, project: Project) -> Access:
    """Olga, who may do everything, as the guard let her in."""
    olga = make_person(session, "olga", "admin", "operator")
    session.info["person"] = olga
    return Access(olga, project, frozenset(olga.roles))


def told(session: Session) -> list[tuple[str, dict[str, object]]]:
    session.flush()
    events = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    return [(event.action, event.details) for event in events]


def make_checkpoint(session: Session, project: Project) -> Checkpoint:
    run = Run(project_id=project.id, kind="ppo", status="succeeded")
    session.add(run)
    session.flush()
    made = Checkpoint(project_id=project.id, kind="policy", base_model="tiny", run_id=run.id, url="", sha256="")
    session.add(made)
    session.flush()
    return made


def test_runs_started_forced_and_cancelled_by_people_and_not_by_the_loop(session: Session, access: Access) -> None:
    run = runs.start(session, access.project, "sample", {"comparisons": 1}, access.person)
    runs.start(session, access.project, "sample", {"comparisons": 1}, None, trigger="stock")
    [prompt] = session.scalars(select(Prompt))
    make_answer(session, make_comparison(session, prompt), access.person)
    forced = runs.start(session, access.project, "reward", {"force": True}, access.person)
    runs.cancel(session, run)
    runs.cancel(session, run)
    assert told(session) == [
        ("run_started", {"run": run.id, "kind": "sample"}),
        ("run_forced", {"run": forced.id, "kind": "reward"}),
        ("run_cancelled", {"run": run.id, "kind": "sample"}),
    ]


def test_promotions_of_people_and_of_the_loop_retirements_and_rollbacks(session: Session, access: Access) -> None:
    one, two = make_checkpoint(session, access.project), make_checkpoint(session, access.project)
    checkpoints.promote(session, None, one)
    session.info["person"] = access.person
    checkpoints.promote(session, access, two)
    checkpoints.promote(session, access, two)
    checkpoints.roll_back(session, access, "policy")
    checkpoints.retire(session, access, one)
    checkpoints.retire(session, access, one)
    assert told(session) == [
        ("promoted", {"checkpoint": one.id, "kind": "policy"}),
        ("promoted", {"checkpoint": two.id, "kind": "policy"}),
        ("rolled_back", {"kind": "policy", "to": one.id}),
        ("retired", {"checkpoint": one.id, "kind": "policy"}),
    ]


def test_pauses_and_exclusions_without_their_reasons(session: Session, access: Access) -> None:
    alice = make_person(session, "alice")
    for decision in standings.DECISIONS:
        standings.decide(session, access, alice, decision, "Alice was careless.")
    assert told(session) == [("paused", {}), ("resumed", {}), ("excluded", {}), ("included", {})]
    about = session.scalars(select(AuditEvent.about_id).distinct()).all()
    assert about == [alice.id]


def test_imports_guidelines_and_exports(session: Session, access: Access) -> None:
    prompts.add(session, access.project, iter([Entry(1, "How?", b""), Entry(2, "How?", b"")]), "file.csv")
    prompts.add(session, access.project, iter([Entry(1, "How?", b"")]), "again.csv")
    guidelines.write(session, access.project, "Prefer the shorter one.", access.person)
    guidelines.write(session, access.project, "Prefer the shorter one.", access.person)
    export = exports.request(session, access, "preference", "jsonl", Filters())
    exports.cancel(session, export)
    assert [(action, details.get("prompts") or details.get("version")) for action, details in told(session)] == [
        ("imported", 1),
        ("guidelines_written", 2),
        ("export_started", None),
        ("export_cancelled", None),
    ]


def test_every_line_says_who(session: Session, access: Access) -> None:
    runs.start(session, access.project, "sample", {"comparisons": 1}, access.person)
    guidelines.write(session, access.project, "Prefer the longer one.", access.person)
    session.flush()
    people = session.scalars(select(User.email).join(AuditEvent, AuditEvent.person_id == User.id)).all()
    assert people == ["olga@example.org", "olga@example.org"]
