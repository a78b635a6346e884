"""The pause of everything, and quiet hours: nothing starts by itself, and what is due starts afterwards."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Project, Run, User, now
from app.models.policies import PolicyError, Retraining
from app.runs import due, pauses
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import bearer, make_person

PAGE = "/projects/garden/runs"


def label(session: Session, project: Project, person: User, n: int) -> None:
    """Answer n new pairs and ask after each one what is due."""
    for number in range(n):
        prompt = make_prompt(session, project, f"{now()} {number}")
        make_answer(session, make_comparison(session, prompt, status="complete"), person)
        due.after_answer(session, project)


def kinds(session: Session) -> list[str]:
    return list(session.scalars(select(Run.kind).order_by(Run.id)))


def test_while_it_lasts_neither_chains_nor_pairs_start_and_afterwards_what_is_due_does(
    session: Session, project: Project, olga: User
) -> None:
    project.retraining = {"every": 2, "cron": "* * * * *"}
    project.created_at = now() - timedelta(days=1)
    pauses.begin(session, project)
    label(session, project, olga, 3)
    assert due.chains_due(session) == []
    assert kinds(session) == []
    pauses.end(session, project)
    (chain,) = due.chains_due(session)
    assert (chain.kind, chain.trigger) == ("chain", "cron")
    assert due.stock_may_be_low(session, project) is not None


def test_running_work_may_end_or_is_cancelled_on_wish(
    session: Session, project: Project, olga: User, client: TestClient
) -> None:
    run = Run(project_id=project.id, kind="sample", status="queued")
    export = Run(project_id=project.id, kind="export", status="queued")
    session.add_all((run, export))
    session.flush()
    headers = bearer(session, olga)
    assert client.post(f"{PAGE}/pause", headers=headers).status_code == 303
    assert session.get_one(Run, run.id).status == "queued"
    page = client.get(PAGE, headers=headers).text
    assert "Let it go on" in page
    assert 'class="paused"' in page
    client.post(f"{PAGE}/pause", headers=headers, data={"cancel": "true"})
    assert session.get_one(Run, run.id).status == "cancelled"
    assert session.get_one(Run, export.id).status == "queued", "somebody waits for this file"
    client.post(f"{PAGE}/go-on", headers=headers)
    assert "Pause everything" in client.get(PAGE, headers=headers).text


def test_programs_pause_too_and_only_operators_may(
    client: TestClient, session: Session, project: Project, olga: User
) -> None:
    address = "/api/v1/projects/garden/pause"
    alice = bearer(session, make_person(session, "alice", "annotator"))
    assert client.post(address, headers=alice, json={}).status_code == 403
    assert client.post(address, headers=bearer(session, olga), json={}).status_code == 204
    assert session.get_one(Project, project.id).paused_at is not None
    assert client.delete(address, headers=alice).status_code == 403
    for name in ("pause", "go-on"):
        assert client.post(f"{PAGE}/{name}", headers=alice).status_code == 403


@pytest.mark.parametrize(
    ("quiet", "clock", "is_quiet"),
    [
        ("22:00-07:00", "22:00", True),
        ("22:00-07:00", "03:00", True),
        ("22:00-07:00", "07:00", False),
        ("09:00-17:30", "17:29", True),
        ("09:00-17:30", "08:59", False),
    ],
)
def test_quiet_hours_are_on_the_project_s_own_clock(quiet: str, clock: str, is_quiet: bool) -> None:
    policy = Retraining(quiet=quiet, timezone="Asia/Seoul")
    there = datetime.fromisoformat(f"2026-01-05T{clock}:00+09:00")
    assert policy.is_quiet(there.astimezone(UTC)) == is_quiet


def test_answers_in_quiet_hours_start_their_chain_when_these_end(
    session: Session, project: Project, olga: User
) -> None:
    begin, end = now() - timedelta(hours=1), now() + timedelta(hours=1)
    project.retraining = {"every": 2, "quiet": f"{begin:%H:%M}-{end:%H:%M}"}
    label(session, project, olga, 2)
    assert due.chains_due(session) == []
    project.retraining = {"every": 2, "quiet": f"{end:%H:%M}-{begin:%H:%M}"}
    session.flush()
    (chain,) = due.chains_due(session)
    assert chain.trigger == "labels"


def test_the_next_time_is_one_outside_the_quiet_hours() -> None:
    nightly = Retraining(cron="0 3,9 * * *", quiet="22:00-07:00", timezone="Asia/Seoul")
    moment = due.next_time(nightly)
    assert moment is not None
    assert f"{moment:%H:%M %Z}" == "09:00 KST"
    assert due.next_time(Retraining(cron="0 3 * * *", quiet="22:00-07:00")) is None


@pytest.mark.parametrize(
    "chosen",
    [{"quiet": "22-7"}, {"quiet": "24:00-07:00"}, {"quiet": 7}, {"timezone": "../../etc/passwd"}, {"timezone": "Mars"}],
)
def test_what_is_no_time_is_refused(chosen: dict[str, object]) -> None:
    with pytest.raises(PolicyError):
        Retraining.from_json(chosen)
