"""What a label asks of the database: every statement more is time that all who label at once wait for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.models import Project
from tests.labeling.pairs import make_comparisons
from tests.people import bearer, make_person, make_project

API = "/api/v1"


@pytest.fixture
def project(session: Session) -> Project:
    project = make_project(session)
    project.sampling = {"stock": 0}
    make_comparisons(session, project, 3)
    return project


@contextmanager
def counted(session: Session) -> Iterator[list[str]]:
    """The statements that are sent meanwhile, without those that begin and end transactions."""
    sent: list[str] = []

    def keep(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if not statement.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            sent.append(statement)

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", keep)
    yield sent
    event.remove(connection, "before_cursor_execute", keep)


def label(client: TestClient, session: Session, headers: dict[str, str]) -> tuple[list[str], list[str]]:
    """What one claim and one answer sent."""
    with counted(session) as claim:
        held = client.post(f"{API}/projects/garden/assignments", headers=headers).json()
    said = {"verdict": "preferred", "preferred": held["responses"][0]["id"], "strength": 2}
    with counted(session) as answer:
        sent = client.post(f"{API}/assignments/{held['assignment']}/answer", headers=headers, json=said)
    assert sent.status_code == 200
    return claim, answer


def test_a_claim_takes_seven_statements_and_an_answer_six(
    client: TestClient, session: Session, project: Project
) -> None:
    headers = bearer(session, make_person(session, "alice", "annotator"))
    label(client, session, headers)  # the first one notes that the token is in use, and puts a job on the queue
    claim, answer = label(client, session, headers)
    assert (len(claim), len(answer)) == (7, 6), "\n".join([*claim, *answer])
