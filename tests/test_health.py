"""What a load balancer asks: is the process alive, may it be sent people?"""

from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session


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
