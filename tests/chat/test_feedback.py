"""A product's own users may say which answer was better; what they said is kept with its source."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Answer, Comparison
from tests.people import bearer, make_person, make_project


@pytest.fixture
def headers(session: Session) -> dict[str, str]:
    make_project(session, "garden")
    return bearer(session, make_person(session, "alice"))


def test_a_preference_becomes_an_answered_comparison(
    client: TestClient, session: Session, headers: dict[str, str]
) -> None:
    sent = {"project": "garden", "prompt": "Name a tree.", "chosen": "Oak.", "rejected": "I cannot.", "strength": 3}
    stored = client.post("/api/v1/feedback", json=sent, headers=headers)
    assert stored.status_code == 201
    answer = session.get_one(Answer, int(stored.json()["answer"]))
    assert (answer.verdict, answer.preferred, answer.strength, answer.source) == ("preferred", "a", 3, "feedback")
    assert answer.user_id is None
    comparison = session.get_one(Comparison, int(stored.json()["comparison"]))
    assert (comparison.status, comparison.source, comparison.response_a.text) == ("complete", "feedback", "Oak.")


def test_two_responses_may_be_called_equal(client: TestClient, session: Session, headers: dict[str, str]) -> None:
    sent = {"project": "garden", "prompt": "Name a tree.", "responses": ["Oak.", "Elm."], "preferred": "tie"}
    stored = client.post("/api/v1/feedback", json=sent, headers=headers)
    answer = session.get_one(Answer, int(stored.json()["answer"]))
    assert (answer.verdict, answer.preferred, answer.strength) == ("tie", None, None)


@pytest.mark.parametrize(
    "sent",
    [
        {"prompt": "Name a tree.", "chosen": "Oak."},
        {"prompt": "Name a tree.", "responses": ["Oak.", "Elm."]},
        {"prompt": "Name a tree.", "chosen": "Oak.", "rejected": "Oak."},
        {"prompt": " ", "chosen": "Oak.", "rejected": "Elm."},
        {"prompt": [{"role": "assistant", "content": "Hello"}], "chosen": "Oak.", "rejected": "Elm."},
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence_and_stores_nothing(
    client: TestClient, session: Session, headers: dict[str, str], sent: dict[str, object]
) -> None:
    refused = client.post("/api/v1/feedback", json={"project": "garden", **sent}, headers=headers)
    assert refused.status_code == 422
    assert refused.json()["detail"].endswith(".")
    assert session.scalars(select(Answer)).all() == []


def test_it_needs_a_token_and_a_project_that_one_may_see(
    client: TestClient, session: Session, headers: dict[str, str]
) -> None:
    make_project(session, "secret").restricted = True
    session.flush()
    sent = {"project": "secret", "prompt": "Name a tree.", "chosen": "Oak.", "rejected": "Elm."}
    assert client.post("/api/v1/feedback", json=sent).status_code == 401
    assert client.post("/api/v1/feedback", json=sent, headers=headers).status_code == 404
