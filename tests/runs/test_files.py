"""A run's metrics for other programs."""

import csv
import io
import struct
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import Project, Run, RunMetric, User
from app.runs import files
from tests.people import bearer, make_person

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def run(session: Session, project: Project) -> Run:
    run = Run(project_id=project.id, kind="ppo", status="succeeded")
    session.add(run)
    session.flush()
    for step, metrics in ((1, {"reward": 0.5, "kl": None}), (300, {"reward": 1.5, "kl": 2})):
        session.add(RunMetric(run_id=run.id, phase="ppo", step=step, metrics=metrics, created_at=AT))
    session.flush()
    return run


def test_csv_has_a_line_a_step_and_leaves_gaps_empty(
    client: TestClient, session: Session, run: Run, olga: User
) -> None:
    answer = client.get(f"/api/v1/runs/{run.id}/metrics.csv", headers=bearer(session, olga))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(line["phase"], line["step"], line["kl"], line["reward"]) for line in lines] == [
        ("ppo", "1", "", "0.5"),
        ("ppo", "300", "2", "1.5"),
    ]


def test_the_checksum_is_crc_32c() -> None:
    assert files.crc32c(b"123456789") == 0xE3069283, "the check value of RFC 3720's CRC"


def test_an_event_file_holds_every_number_at_its_step(
    client: TestClient, session: Session, run: Run, olga: User
) -> None:
    answer = client.get(f"/api/v1/runs/{run.id}/events", headers=bearer(session, olga))
    assert "events.out.tfevents." in answer.headers["content-disposition"]
    first, second, third = records(answer.content)
    assert first.endswith(b"\x1a\x0dbrain.Event:2")
    moment = b"\x09" + struct.pack("<d", AT.timestamp())
    # Step 1, a summary of 19 bytes, a value of 17: the tag of 10 and a float.
    assert second == moment + b"\x10\x01" + b"\x2a\x13\x0a\x11\x0a\x0appo/reward\x15" + struct.pack("<f", 0.5)
    assert third.startswith(moment + b"\x10\xac\x02"), "300 as a varint: 0b10_0101100"
    assert third.count(b"ppo/kl") == 1


def records(data: bytes) -> list[bytes]:
    """Take TFRecords apart and check what they check."""
    found = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        for checked, at in ((data[:8], 8), (body, 12 + length)):
            (masked,) = struct.unpack("<I", data[at : at + 4])
            rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
            assert (rotated << 15 | rotated >> 17) & 0xFFFFFFFF == files.crc32c(checked)
        found.append(body)
        data = data[16 + length :]
    return found


def test_both_are_for_operators(client: TestClient, session: Session, run: Run) -> None:
    headers = bearer(session, make_person(session, "alice", "annotator"))
    for name in ("metrics.csv", "events"):
        assert client.get(f"/api/v1/runs/{run.id}/{name}", headers=headers).status_code == 403
