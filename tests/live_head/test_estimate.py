"""The loop page says what the live head is worth, or why it is silent."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import LiveHead, Project
from tests.people import bearer, make_person, make_project

FIGURES = {"accuracy": 0.714, "accuracy_low": 0.619, "accuracy_high": 0.792, "length_baseline": 0.58, "seconds": 0.1}


@pytest.mark.parametrize(
    ("answers", "unread", "metrics", "sentence"),
    [
        (140, 0, FIGURES, "Estimate after 140 answers: 71 % [62, 79], length alone 58 %; no training needed."),
        (40, 1200, FIGURES, "no training needed. The model has yet to read 1,200 responses."),
        (7, 0, {}, "No estimate yet: 7 of 20 answers that prefer one response."),
        (
            0,
            44,
            {},
            "No estimate yet: 0 of 20 answers that prefer one response. The model has yet to read 44 responses.",
        ),
        (30, 0, {}, "No estimate yet: all the answers are about one prompt. Label pairs for more prompts."),
        (0, 0, {}, "An estimate without training appears here after 20 answers."),
    ],
)
def test_the_loop_page_tells_the_estimate(
    client: TestClient, session: Session, answers: int, unread: int, metrics: dict[str, Any], sentence: str
) -> None:
    project = make_project(session)
    headers = bearer(session, make_person(session, "olga", "operator"))
    session.add(
        LiveHead(
            project_id=project.id, newest_answer=1, answers=answers, unread=unread, metrics=metrics | {"seconds": 0}
        )
    )
    session.flush()
    assert sentence in client.get("/projects/garden/runs", headers=headers).text


def test_before_the_first_answer_it_says_when_there_will_be_one(client: TestClient, session: Session) -> None:
    project: Project = make_project(session)
    headers = bearer(session, make_person(session, "olga", "operator"))
    shown = client.get(f"/projects/{project.slug}/runs", headers=headers).text
    assert "An estimate without training appears here after 20 answers." in shown
