"""The OpenAI-compatible gateway in front of the real engine on the tiny model."""

import json

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.settings import settings
from tests.people import bearer, make_person, make_project

QUESTION = [{"role": "user", "content": "Say something."}]


@pytest.fixture
def headers(session: Session) -> dict[str, str]:
    make_project(session, "garden")
    return bearer(session, make_person(session, "alice"))


def test_models_are_named_by_project(client: TestClient, headers: dict[str, str]) -> None:
    listed = client.get("/v1/models", headers=headers).json()
    assert [model["id"] for model in listed["data"]] == ["garden", "garden@base"]


def test_it_answers_under_the_name_that_was_asked_for(
    client: TestClient, headers: dict[str, str], engine_url: str
) -> None:
    asked = {"model": "garden", "messages": QUESTION, "max_tokens": 8, "seed": 5}
    first = client.post("/v1/chat/completions", json=asked, headers=headers)
    assert first.status_code == 200
    body = first.json()
    assert body["model"] == "garden"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert 0 < body["usage"]["completion_tokens"] <= 8
    again = client.post("/v1/chat/completions", json={**asked, "model": "garden@base"}, headers=headers).json()
    assert again["choices"] == body["choices"], "the base model with the same seed says the same"


def test_it_streams_the_same_words(client: TestClient, headers: dict[str, str], engine_url: str) -> None:
    asked = {"model": "garden", "messages": QUESTION, "max_tokens": 8, "seed": 5}
    whole = client.post("/v1/chat/completions", json=asked, headers=headers).json()["choices"][0]["message"]["content"]
    streamed = client.post("/v1/chat/completions", json={**asked, "stream": True}, headers=headers)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in streamed.text.split("\n\n") if line]
    assert events.pop() == "[DONE]"
    pieces = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events]
    assert "".join(pieces) == whole


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"messages": QUESTION}, 422),
        ({"model": "garden"}, 422),
        ({"model": "desert", "messages": QUESTION}, 404),
        ({"model": "garden@12345", "messages": QUESTION}, 404),
        ({"model": "garden@' or 1=1", "messages": QUESTION}, 404),
    ],
)
def test_refusals_come_in_the_form_that_openai_clients_read(
    client: TestClient, headers: dict[str, str], asked: dict[str, object], status: int
) -> None:
    refused = client.post("/v1/chat/completions", json=asked, headers=headers)
    assert refused.status_code == status
    assert refused.json()["error"]["message"].endswith(".")


def test_a_conversation_beyond_the_context_is_refused_with_the_engine_s_sentence(
    client: TestClient, headers: dict[str, str], engine_url: str
) -> None:
    endless = [{"role": "user", "content": "word " * 5000}]
    refused = client.post("/v1/chat/completions", json={"model": "garden", "messages": endless}, headers=headers)
    assert refused.status_code == 422
    assert "Shorten it" in refused.json()["error"]["message"]


def test_without_an_engine_it_says_so(
    client: TestClient, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "engine_url", "http://127.0.0.1:9")
    for more in ({}, {"stream": True}):
        refused = client.post(
            "/v1/chat/completions", json={"model": "garden", "messages": QUESTION, **more}, headers=headers
        )
        assert refused.status_code == 503
        assert "not running" in refused.json()["error"]["message"]


def test_it_needs_a_token(client: TestClient) -> None:
    assert client.get("/v1/models").status_code == 401
    assert client.post("/v1/chat/completions", json={}).status_code == 401
