"""The chat page by mouse and keyboard: streamed, stopped, written again, edited, shared, left without an engine.

The answers come from a server that speaks the same API as our engine, so that they can be told apart and come slowly.
"""

import json
import re
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from playwright.sync_api import Page, expect

from app.database import open_session
from app.models import Chat, User
from app.settings import settings
from tests.browser.conftest import Open, SignIn, expecting
from tests.live_server import serving
from tests.people import make_person, make_project

CHAT = "/projects/garden/chat"


def other_engine() -> FastAPI:
    """Streams “Answer 1.”, “Answer 2.” and so on; asked to go slowly, with a hundred words behind it."""
    app, asked = FastAPI(), list[str]()

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> StreamingResponse:
        asked.append((await request.json())["messages"][-1]["content"])
        slowly = "slowly" in asked[-1]
        words = [f"Answer {len(asked)}.", *([" word"] * 100 if slowly else [])]

        def stream() -> Iterator[str]:
            for word in words:
                choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
                yield f"data: {json.dumps({'choices': [choice]})}\n\n"
                time.sleep(0.05 if slowly else 0)
            yield "data: [DONE]\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    return app


@pytest.fixture
def address(database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the web application listens, whose engine is that server."""
    engine = uvicorn.Server(uvicorn.Config(other_engine(), port=0, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=engine.run, daemon=True)
    thread.start()
    while not engine.started:
        time.sleep(0.02)
    port = engine.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setattr(settings, "engine_url", f"http://127.0.0.1:{port}")
    with serving() as url:
        yield url
    engine.should_exit = True
    thread.join(10)


@pytest.fixture
def alice(database: None) -> User:
    with open_session() as session:
        make_project(session)
        return make_person(session, "alice", "annotator")


@pytest.fixture
def chat(address: str, alice: User, browser_page: Page, sign_in: SignIn) -> Page:
    sign_in(browser_page, alice)
    browser_page.goto(address + CHAT)
    return browser_page


def say(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    page.locator("#text").press("Enter")


def said(page: Page) -> list[str]:
    """Every turn on the page, in order."""
    return [text.strip() for text in page.locator(".turn > .said, .turn > .prose").all_inner_texts()]


def test_a_conversation_is_written_again_and_edited(chat: Page) -> None:
    say(chat, "One")
    expect(chat.get_by_text("Answer 1.")).to_be_visible()
    say(chat, "Two")
    expect(chat.get_by_text("Answer 2.")).to_be_visible()
    assert said(chat) == ["One", "Answer 1.", "Two", "Answer 2."]

    chat.get_by_role("button", name="Write it again").click()
    expect(chat.get_by_text("Answer 3.")).to_be_visible()
    assert said(chat) == ["One", "Answer 1.", "Two", "Answer 3."]

    chat.get_by_text("Edit", exact=True).first.click()
    field = chat.locator("details[open] textarea")
    assert field.input_value() == "One"
    field.fill("Something else")
    chat.get_by_role("button", name="Send instead").locator("visible=true").click()
    expect(chat.get_by_text("Answer 4.")).to_be_visible()
    assert said(chat) == ["Something else", "Answer 4."]
    chat.reload()
    assert said(chat) == ["Something else", "Answer 4."]


def test_a_stopped_answer_is_kept_as_far_as_it_came_and_can_be_written_again(chat: Page) -> None:
    say(chat, "Count slowly")
    expect(chat.get_by_text(re.compile("Answer 1. word word"))).to_be_visible()
    chat.get_by_role("button", name="Stop").click()
    expect(chat.get_by_role("button", name="Write it again")).to_be_visible()
    kept = said(chat)[-1]
    assert 2 <= kept.count("word") < 100
    with open_session() as session:
        assert session.query(Chat).one().messages[-1]["content"].strip() == kept
    expect(chat.locator("#text")).to_be_enabled()
    say(chat, "Two")
    expect(chat.get_by_text("Answer 2.")).to_be_visible()


def test_a_shared_conversation_is_read_by_somebody_else_and_taken_back(
    chat: Page, address: str, open_page: Open, sign_in: SignIn
) -> None:
    say(chat, "One")
    chat.get_by_role("button", name="Write it again").wait_for()
    here = chat.url
    expect(chat.locator("#earlier").get_by_role("link", name="One")).to_be_visible()
    chat.get_by_role("button", name="Share with this project").click()
    expect(chat.get_by_text("Everybody in this project can read it")).to_be_visible()

    with open_session() as session:
        bob = make_person(session, "bob", "annotator")
    other = open_page(viewport={"width": 1440, "height": 900})
    sign_in(other, bob)
    other.goto(here)
    assert said(other) == ["One", "Answer 1."]
    assert other.locator("#composer, .edit, .turn form").count() == 0

    chat.get_by_role("button", name="Stop sharing").click()
    chat.get_by_role("button", name="Share with this project").wait_for()
    with expecting(other, "Failed to load resource: the server responded with a status of 404"):
        other.reload()
        expect(other.get_by_role("heading", level=1)).to_be_visible()
    assert said(other) == []


def test_without_an_engine_the_question_stays_and_the_page_says_so(chat: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "engine_url", "http://127.0.0.1:9")
    say(chat, "One")
    expect(chat.locator("#toasts, .toast").get_by_text(re.compile("language model"))).to_be_visible()
    assert said(chat) == ["One"]
