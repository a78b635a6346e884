"""What a load balancer asks: is the process alive, may it be sent people?"""

from datetime import timedelta

from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.models import Assignment, Run, now
from app.queue import enqueue
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import make_person, make_project


def test_it_is_ready_on_the_tables_it_was_written_for(client: TestClient, session: Session) -> None:
    version = session.scalar(text("select version_num from alembic_version"))
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready", "schema": version}


def test_it_is_not_ready_on_the_tables_of_another_version(client: TestClient, session: Session) -> None:
    session.execute(text("update alembic_version set version_num = '0000'"))
    refused = client.get("/readyz")
    assert refused.status_code == 503
    assert "has version 0000 of the tables" in refused.text
    assert "pairloop migrate" in refused.text
    assert client.get("/healthz").status_code == 200, "another version does not mean that the process is dead"


def test_it_is_not_ready_without_the_queue_s_tables(client: TestClient, session: Session) -> None:
    session.execute(text("drop table jobs.procrastinate_jobs cascade"))
    assert client.get("/readyz").status_code == 503


def test_metrics_are_prometheus_s(client: TestClient) -> None:
    assert "process_resident_memory_bytes" in client.get("/metrics").text


def value_of(said: str, name: str) -> float:
    """The value of one series in Prometheus's text."""
    return float(next(line for line in said.splitlines() if line.startswith(f"{name} ")).rsplit(" ", 1)[1])


def test_metrics_tell_of_the_whole_installation_and_name_nobody(client: TestClient, session: Session) -> None:
    garden, alice = make_project(session), make_person(session, "alice", "annotator")
    pair = make_comparison(session, make_prompt(session, garden))
    lease = {"leased_until": now() + timedelta(minutes=5), "claimed_at": now(), "shown_left": "a"}
    session.add(Assignment(project_id=garden.id, comparison_id=pair.id, user_id=alice.id, **lease))
    session.add(Run(project_id=garden.id, kind="ppo", status="running"))
    session.flush()
    enqueue(session, "sample", run_id=1)
    said = client.get("/metrics").text
    assert value_of(said, 'pairloop_runs{kind="ppo",status="running"}') == 1
    assert value_of(said, "pairloop_leases") == 1
    assert value_of(said, 'pairloop_jobs{queue="default",status="waiting"}') == 1
    assert value_of(said, 'pairloop_jobs{queue="train",status="running"}') == 0, "a queue with nothing in it says 0"
    assert value_of(said, "pairloop_database_up") == 1
    assert "garden" not in said
    assert "alice" not in said
    before = value_of(said, "pairloop_answers_total")
    answer = make_answer(session, pair, alice)
    session.delete(answer)
    session.flush()
    undone = value_of(client.get("/metrics").text, "pairloop_answers_total")
    assert undone == before + 1, "a counter never falls"


def test_metrics_without_the_tables_say_that_the_database_is_not_up(client: TestClient, session: Session) -> None:
    session.execute(text("drop table jobs.procrastinate_workers cascade"))
    said = client.get("/metrics").text
    assert value_of(said, "pairloop_database_up") == 0
    assert "process_resident_memory_bytes" in said
