"""What happens every minute without anybody asking."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from app.database import open_session
from app.models import Assignment, LoginSession, RateLimit, Run, now
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import make_person, make_project
from tests.workers.worker import wait_until, worker
from workers import periodic


@pytest.mark.usefixtures("committed")
def test_it_starts_what_is_due_and_clears_what_ran_out() -> None:
    with open_session() as session:
        garden, archived = make_project(session), make_project(session, "archived")
        lately = now() - timedelta(minutes=10)
        garden.retraining = {"cron": f"{lately.minute} {lately.hour} * * *"}
        garden.created_at = now() - timedelta(days=2)
        archived.archived_at = now()
        alice, bob = make_person(session, "alice", "annotator"), make_person(session, "bob", "annotator")
        for project in (garden, archived):
            prompt = make_prompt(session, project)
            make_answer(session, make_comparison(session, prompt, status="complete"), alice)
        for person, minutes in ((alice, -2), (bob, 2)):
            pair = make_comparison(session, make_prompt(session, garden, person.name))
            until = now() + timedelta(minutes=minutes)
            lease = {"leased_until": until, "claimed_at": now(), "shown_left": "a"}
            session.add(Assignment(project_id=garden.id, comparison_id=pair.id, user_id=person.id, **lease))
        for days in (-1, 1):
            token = bytes([days + 1])
            expires = now() + timedelta(days=days)
            session.add(LoginSession(token_hash=token, user_id=alice.id, expires_at=expires))
        session.add(RateLimit(key="old", window_start=now() - timedelta(days=2), hits=3))
    for _ in range(2):
        periodic.every_minute(timestamp=0)
    with open_session() as session:
        started = session.execute(select(Run.project_id, Run.kind, Run.trigger).order_by(Run.id)).all()
        assert [tuple(row) for row in started] == [
            (garden.id, "chain", "cron"),
            (garden.id, "reward", "chain"),
            (garden.id, "sample", "stock"),
        ]
        assert dict(session.execute(select(Assignment.user_id, Assignment.status)).all()) == {
            alice.id: "expired",
            bob.id: "leased",
        }
        assert session.scalar(select(func.count()).select_from(LoginSession)) == 1
        assert session.scalar(select(RateLimit.key)) is None


@pytest.mark.usefixtures("committed")
def test_a_worker_asks_for_it_by_itself() -> None:
    with open_session() as session:
        project = make_project(session)
        project.sampling = {"stock": 0}
    with worker():
        wait_until(lambda: done() >= {"every_minute", "rescue"})


def done() -> set[str]:
    """The periodic jobs that a worker has done well; such jobs are deleted, what deferred them is not."""
    with open_session() as session:
        ended = "select task_name from jobs.procrastinate_periodic_defers where job_id is null"
        return set(session.scalars(text(ended)))
