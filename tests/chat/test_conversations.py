"""The chat page: conversations stay their owner's, and only consent lets a choice be kept for training."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Answer, Chat, Comparison, Prompt, User
from app.settings import settings
from tests.people import bearer, make_person, make_project


@pytest.fixture
def alice(session: Session) -> User:
    make_project(session, "garden")
    return make_person(session, "alice", "annotator")


@pytest.fixture
def headers(session: Session, alice: User) -> dict[str, str]:
    return bearer(session, alice)


def say(client: TestClient, headers: dict[str, str], text: str, chat: str = "") -> str:
    """Say something the way a browser without JavaScript does; the conversation's address comes back."""
    sent = client.post(f"/projects/garden/chat{chat}", data={"text": text}, headers=headers)
    assert sent.status_code == 303, sent.text
    found = re.fullmatch(r"/projects/garden/chat(/\d+)#end", sent.headers["location"])
    assert found
    return found[1]


def test_a_question_is_answered_by_the_model(
    client: TestClient, session: Session, headers: dict[str, str], engine_url: str
) -> None:
    say(client, headers, "Hello <b>there</b>")
    chat = session.scalars(select(Chat)).one()
    assert [turn["role"] for turn in chat.messages] == ["user", "assistant"]
    shown = client.get(f"/projects/garden/chat/{chat.id}", headers=headers).text
    assert "Hello &lt;b&gt;there&lt;/b&gt;" in shown


def test_without_consent_no_answer_comes_twice_and_nothing_is_kept(
    client: TestClient, session: Session, headers: dict[str, str], engine_url: str
) -> None:
    chat = say(client, headers, "One")
    say(client, headers, "Two", chat)
    say(client, headers, "Three", chat)
    assert session.scalars(select(Chat)).one().pending is None
    assert session.scalars(select(Prompt)).all() == []


def test_with_consent_the_second_answer_is_a_choice_that_is_stored(
    client: TestClient, session: Session, alice: User, headers: dict[str, str], engine_url: str
) -> None:
    client.post("/projects/garden/chat-consent", data={"agree": "true"}, headers=headers)
    address = say(client, headers, "One")
    say(client, headers, "Two", address)
    chat = session.scalars(select(Chat)).one()
    assert chat.pending is not None
    left, right = (answer["text"] for answer in chat.pending["answers"])
    assert client.post(f"/projects/garden/chat{address}", data={"text": "Three"}, headers=headers).status_code == 409

    client.post(f"/projects/garden/chat{address}/choice", data={"better": "right"}, headers=headers)
    answer = session.scalars(select(Answer)).one()
    assert (answer.verdict, answer.preferred, answer.source, answer.user_id) == ("preferred", "b", "chat", alice.id)
    comparison = session.scalars(select(Comparison)).one()
    assert (comparison.response_a.text, comparison.response_b.text) == (left, right)
    assert comparison.response_b.token_ids
    assert comparison.response_b.prompt_token_ids
    assert [turn["content"] for turn in comparison.prompt.messages][::2] == ["One", "Two"]
    assert chat.pending is None
    assert chat.messages[-1]["content"] == right

    again = client.post(f"/projects/garden/chat{address}/choice", data={"better": "left"}, headers=headers)
    assert again.status_code == 409


def test_consent_taken_back_before_the_choice_keeps_nothing(
    client: TestClient, session: Session, headers: dict[str, str], engine_url: str
) -> None:
    client.post("/projects/garden/chat-consent", data={"agree": "true"}, headers=headers)
    address = say(client, headers, "One")
    say(client, headers, "Two", address)
    client.post("/projects/garden/chat-consent", data={"agree": "false"}, headers=headers)
    client.post(f"/projects/garden/chat{address}/choice", data={"better": "left"}, headers=headers)
    assert session.scalars(select(Answer)).all() == []
    assert session.scalars(select(Prompt)).all() == []
    assert session.scalars(select(Chat)).one().messages[-1]["role"] == "assistant"


def test_nobody_else_sees_a_conversation(
    client: TestClient, session: Session, headers: dict[str, str], engine_url: str
) -> None:
    address = say(client, headers, "A secret")
    bob = bearer(session, make_person(session, "bob", "admin", "operator"))
    assert client.get(f"/projects/garden/chat{address}", headers=bob).status_code == 404
    assert client.post(f"/projects/garden/chat{address}", data={"text": "x"}, headers=bob).status_code == 404
    assert client.post(f"/projects/garden/chat{address}/delete", headers=bob).status_code == 404
    assert "A secret" not in client.get("/projects/garden/chat", headers=bob).text


def test_an_answer_is_streamed_and_kept(
    client: TestClient, session: Session, headers: dict[str, str], engine_url: str
) -> None:
    started = client.post(
        "/projects/garden/chat", data={"text": "Hello"}, headers={**headers, "Accept": "application/json"}
    )
    assert session.scalars(select(Chat)).one().messages[-1]["role"] == "user"
    session.commit()
    streamed = client.post(f"/projects/garden/chat/{started.json()['chat']}/answer", headers=headers).text
    assert streamed.startswith("event: piece\n")


def test_a_message_is_kept_when_the_engine_is_down(
    client: TestClient, session: Session, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "engine_url", "http://127.0.0.1:9")
    address = say(client, headers, "Hello")
    shown = client.get(f"/projects/garden/chat{address}", headers=headers).text
    assert "Hello" in shown
    assert "No answer yet" in shown


@pytest.mark.parametrize("text", ["", "   ", "x" * 20_001, "a\x00b"])
def test_an_unusable_message_gets_a_sentence(client: TestClient, headers: dict[str, str], text: str) -> None:
    assert client.post("/projects/garden/chat", data={"text": text}, headers=headers).status_code == 422
