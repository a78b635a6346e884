"""Best of n: several candidates are written, the live head picks one, and the page says so."""

import base64
import re
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.chat import best_of
from app.live_head import heads
from app.models import Chat, Project, Prompt, User
from app.settings import settings
from tests.live_head.scene import FEATURES, NAME, add_answers, fit_now
from tests.people import bearer, make_person, make_project

PAGE = "/projects/garden/chat"
TINY = 4 * 64
"""Features of `tiny`: mean, sum, last and words, 64 numbers each."""


@pytest.fixture
def alice(session: Session) -> User:
    return make_person(session, "alice", "annotator")


@pytest.fixture
def headers(session: Session, alice: User) -> dict[str, str]:
    return bearer(session, alice)


@pytest.fixture
def project(session: Session, alice: User) -> Project:
    """A project whose live head knows twenty answers about features like those of `tiny`."""
    project = make_project(session)
    project.sampling = {"max_tokens": 12}
    add_answers(session, project, alice, 20, size=TINY)
    fit_now(session, project)
    return project


def say(client: TestClient, headers: dict[str, str], address: str = PAGE, **more: Any) -> str:
    sent = client.post(address, data={"text": "Hello"} | more, headers=headers)
    assert sent.status_code == 303, sent.text
    return sent.headers["location"].removesuffix("#end")


def shorten(session: Session) -> None:
    """Let the model have said a word, because two long answers of `tiny` do not fit into what it reads."""
    chat = session.scalars(select(Chat)).one()
    chat.messages = [*chat.messages[:-1], {**chat.messages[-1], "content": "Yes."}]
    session.flush()


def last_turn(session: Session) -> dict[str, Any]:
    return session.scalars(select(Chat)).one().messages[-1]


def test_several_candidates_are_written_and_the_answer_says_how_many(
    client: TestClient, session: Session, project: Project, headers: dict[str, str], engine_url: str
) -> None:
    address = say(client, headers, best_of=4)
    turn = last_turn(session)
    assert (turn["role"], turn["best_of"]) == ("assistant", 4)
    assert turn["content"]
    shown = client.get(address, headers=headers).text
    assert "The best of 4 candidates, as the live head sees it" in shown
    assert "It was taught by 20 answers and agrees with people in" in shown
    # Remembered for this conversation, without being said again.
    assert re.search(r'name="best_of" min="1" max="16" value="4"', shown)
    shorten(session)
    say(client, headers, address)
    assert last_turn(session)["best_of"] == 4
    shorten(session)
    # Back to one answer, which nobody picked.
    say(client, headers, address, best_of=1)
    assert "best_of" not in last_turn(session)
    assert 'value="1"' in client.get(PAGE, headers=headers).text


def test_with_javascript_the_picked_answer_comes_whole(
    client: TestClient, session: Session, project: Project, headers: dict[str, str], engine_url: str
) -> None:
    asked = {"text": "Hello", "best_of": 3}
    started = client.post(PAGE, data=asked, headers={**headers, "Accept": "application/json"})
    session.commit()
    streamed = client.post(f"{PAGE}/{started.json()['chat']}/answer", headers=headers).text
    assert streamed.startswith("event: turns\n")
    assert "The best of 3 candidates" in streamed


def test_before_the_first_estimate_there_is_no_such_control_and_one_answer(
    client: TestClient, session: Session, alice: User, headers: dict[str, str], engine_url: str
) -> None:
    project = make_project(session)
    add_answers(session, project, alice, 19)
    fit_now(session, project)
    assert "best_of" not in client.get(PAGE, headers=headers).text
    say(client, headers, best_of=4)
    assert "best_of" not in last_turn(session)


@pytest.mark.parametrize("wanted", ["0", "17", "many"])
def test_more_than_sixteen_and_fewer_than_one_are_refused(
    client: TestClient, project: Project, headers: dict[str, str], wanted: str
) -> None:
    assert client.post(PAGE, data={"text": "Hello", "best_of": wanted}, headers=headers).status_code == 422


def test_the_candidate_with_the_highest_score_is_picked(session: Session, alice: User) -> None:
    project = make_project(session)
    # The answers prefer what has more of the first feature.
    add_answers(session, project, alice, 40)
    fit_now(session, project)
    found = heads.usable(session, project.id)

    def choice(text: str, first: float) -> dict[str, Any]:
        features = base64.b64encode((np.eye(FEATURES)[0] * first).astype("<f2").tobytes()).decode()
        return {"message": {"content": text}, "features": features}

    choices = [choice("poor", -1), choice(" best ", 2), choice("", 5), choice("middling", 1)]
    written = {"choices": choices, "features_from": NAME}
    assert best_of.pick(found, written) == ("best", 3)
    # Nothing was picked where the head cannot read the candidates, or where there is but one.
    assert best_of.pick(found, {**written, "features_from": "tiny layer 2 mean"}) == ("poor", None)
    assert best_of.pick(found, {"choices": [{"message": {"content": "vLLM"}}] * 2}) == ("vLLM", None)
    assert best_of.pick(None, written) == ("poor", None)
    assert best_of.pick(found, {**written, "choices": choices[:1]}) == ("poor", None)
    assert best_of.pick(found, {**written, "choices": [choice("", 1)]}) == ("", None)


def test_the_gateway_knows_nothing_of_it(
    client: TestClient, session: Session, project: Project, headers: dict[str, str], engine_url: str
) -> None:
    asked = {"model": "garden", "messages": [{"role": "user", "content": "Hi"}], "best_of": 4, "return_features": True}
    answer = client.post("/v1/chat/completions", json=asked, headers=headers).json()
    assert len(answer["choices"]) == 1
    assert "features_from" not in answer


def test_while_the_engine_is_down_the_question_stays(
    client: TestClient, session: Session, project: Project, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "engine_url", "http://127.0.0.1:9")
    address = say(client, headers, best_of=2)
    assert "No answer yet" in client.get(address, headers=headers).text
    assert session.scalars(select(Prompt.source).where(Prompt.source == "chat")).all() == []
