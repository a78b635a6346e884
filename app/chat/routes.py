"""The door of chat: the page, the OpenAI-compatible gateway, feedback."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Body, Form, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from sqlalchemy.orm import Session

from app.accounts import quotas
from app.accounts.access import Access, MemberOf, Person, find_project, page_context, token_of
from app.chat import best_of as candidates
from app.chat import choices, conversations, gateway
from app.chat.feedback import Feedback
from app.chat.feedback import keep as keep_feedback
from app.checkpoints.checkpoints import promoted
from app.database import Opener, Transaction
from app.errors import BadInput, DomainError, Unavailable
from app.later import Later
from app.messages import check_messages
from app.models import Chat
from app.models.policies import Serving
from app.templating import environment, page

pages = APIRouter()
api = APIRouter(tags=["chat"])

EVENTS = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
Ask = Callable[[], Callable[[Session], None]]
"""Asks the engine, without a session, and returns what keeps the answer in one."""


@pages.get("/projects/{slug}/chat")
@pages.get("/projects/{slug}/chat/{chat_id}")
def chat_page(request: Request, access: MemberOf, session: Transaction, chat_id: int | None = None) -> Response:
    """A conversation (or the beginning of one) and the person's earlier ones."""
    chat = conversations.read(session, access, chat_id) if chat_id else None
    values = {
        "chat": chat,
        "mine": chat is None or chat.user_id == access.person.id,
        "recent": conversations.recent(session, access),
        "checkpoint": promoted(session, access.project.id, "policy"),
        "consented": conversations.has_consented(session, access),
        "serving": Serving.from_json(access.project.serving),
        "picker": candidates.picker(session, access.project),
        "most_candidates": candidates.MOST,
    }
    return page(request, "chat/chat.html", page_context(access, "chat") | values)


@pages.post("/projects/{slug}/chat")
@pages.post("/projects/{slug}/chat/{chat_id}")
def say(
    request: Request,
    access: MemberOf,
    session: Transaction,
    opener: Opener,
    text: Annotated[str, Form()] = "",
    best_of: Annotated[int | None, Form(ge=1, le=candidates.MOST)] = None,
    chat_id: int | None = None,
) -> Response:
    """Say something. Without JavaScript the whole answer is awaited; with it, `answer` streams it afterwards."""
    chat = conversations.say(session, access, chat_id, text, best_of)
    return _answered(request, session, access, chat, opener)


@pages.post("/projects/{slug}/chat/{chat_id}/again")
def write_again(request: Request, access: MemberOf, session: Transaction, opener: Opener, chat_id: int) -> Response:
    """Have the last answer written once more."""
    return _answered(request, session, access, conversations.take_back(session, access, chat_id), opener)


@pages.post("/projects/{slug}/chat/{chat_id}/edit")
def edit(
    request: Request,
    access: MemberOf,
    session: Transaction,
    opener: Opener,
    chat_id: int,
    turn: Annotated[int, Form(ge=0)],
    text: Annotated[str, Form()] = "",
) -> Response:
    """Say something else in an earlier turn; what came after it goes."""
    return _answered(request, session, access, conversations.edit(session, access, chat_id, turn, text), opener)


def _answered(request: Request, session: Session, access: Access, chat: Chat, opener: Opener) -> Response:
    if request.headers.get("accept") == "application/json":
        return Response(json.dumps({"chat": str(chat.id)}), media_type="application/json")
    ask, there = _next_answer(session, access, chat), f"/projects/{access.project.slug}/chat/{chat.id}#end"

    def work() -> Response:
        # While the engine is down the question stays, and the page says that it has no answer yet.
        with suppress(Unavailable):
            keep = ask()
            with opener() as later:
                keep(later)
        return RedirectResponse(there, 303)

    return Later(work)


def _next_answer(session: Session, access: Access, chat: Chat) -> Ask:
    """How the next answer comes: twice, as the best of several, or once."""
    if conversations.asks_twice(session, access, chat):
        return choices.answer_twice(session, access, chat)
    if candidates.applies(session, access, chat):
        return candidates.answer(session, access, chat)
    call, checkpoint = conversations.call_for(session, access, chat)
    checkpoint_id, chat_id = checkpoint.id if checkpoint else None, chat.id

    def ask() -> Callable[[Session], None]:
        written = gateway.complete(call)["choices"][0]["message"]["content"] or ""

        def keep(later: Session) -> None:
            conversations.keep_answer(later, chat_id, written.strip(), checkpoint_id)

        return keep

    return ask


@pages.post("/projects/{slug}/chat/{chat_id}/answer")
def answer(access: MemberOf, session: Transaction, opener: Opener, chat_id: int) -> Response:
    """Stream the next answer as server-sent events: `piece` with text, then `turns` with the conversation's HTML.

    Where there is something to choose or to pick from, the turns come at once, without pieces.
    """
    chat, slug = conversations.find(session, access, chat_id, lock=True), access.project.slug
    if chat.pending:
        return Response(_event("turns", _turns(slug, chat)), media_type="text/event-stream")
    if conversations.asks_twice(session, access, chat) or candidates.applies(session, access, chat):
        ask = _next_answer(session, access, chat)

        def work() -> Response:
            keep = ask()
            with opener() as later:
                keep(later)
                turns = _turns(slug, later.get_one(Chat, chat_id))
            return Response(_event("turns", turns), media_type="text/event-stream")

        return Later(work)
    call, checkpoint = conversations.call_for(session, access, chat)
    stream = _stream(slug, chat.id, call, checkpoint.id if checkpoint else None, opener)
    return StreamingResponse(stream, media_type="text/event-stream", headers=EVENTS)


async def _stream(
    slug: str, chat_id: int, call: gateway.Call, checkpoint_id: int | None, opener: Opener
) -> AsyncIterator[str]:
    """No database session is held while the model writes; what it wrote is kept even when the reader leaves early."""
    pieces: list[str] = []
    try:
        async for chunk in (await gateway.open_stream(call)).chunks():
            if "error" in chunk:
                yield _event("problem", chunk["error"]["message"])
                return
            for choice in chunk["choices"]:
                if piece := choice["delta"].get("content"):
                    pieces.append(piece)
                    yield _event("piece", piece)
    except DomainError as problem:
        yield _event("problem", problem.message)
        return
    finally:
        with anyio.CancelScope(shield=True):
            turns = await run_in_threadpool(_keep, slug, chat_id, "".join(pieces).strip(), checkpoint_id, opener)
    yield _event("turns", turns)


def _keep(slug: str, chat_id: int, text: str, checkpoint_id: int | None, opener: Opener) -> str:
    with opener() as session:
        chat = conversations.keep_answer(session, chat_id, text, checkpoint_id)
        return _turns(slug, chat) if chat else ""


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _turns(slug: str, chat: Chat) -> str:
    return environment.get_template("chat/_turns.html").render(chat=chat, slug=slug, mine=True)


@pages.post("/projects/{slug}/chat/{chat_id}/choice")
def choose(
    access: MemberOf,
    session: Transaction,
    chat_id: int,
    better: Annotated[Literal["left", "right", "same", "bad"], Form()],
) -> Response:
    """Which of two answers was better; the conversation goes on with it."""
    choices.choose(session, access, chat_id, better)
    return RedirectResponse(f"/projects/{access.project.slug}/chat/{chat_id}#end", 303)


@pages.post("/projects/{slug}/chat/{chat_id}/share")
def share(access: MemberOf, session: Transaction, chat_id: int, on: Annotated[bool, Form()]) -> Response:
    """Let everybody in the project read the conversation, or nobody any more."""
    conversations.share(session, access, chat_id, on=on)
    return RedirectResponse(f"/projects/{access.project.slug}/chat/{chat_id}", 303)


@pages.post("/projects/{slug}/chat-consent")
def consent(request: Request, access: MemberOf, session: Transaction, agree: Annotated[bool, Form()]) -> Response:
    """Agree that choices made in the chat are kept for training, or take it back."""
    conversations.consent(session, access, agree=agree)
    return RedirectResponse(f"/projects/{access.project.slug}/chat", 303)


@pages.post("/projects/{slug}/chat/{chat_id}/delete")
def forget(access: MemberOf, session: Transaction, chat_id: int) -> Response:
    """Delete one of one's own conversations."""
    conversations.forget(session, access, chat_id)
    return RedirectResponse(f"/projects/{access.project.slug}/chat", 303)


@api.get("/v1/models")
def models(person: Person, session: Transaction) -> dict[str, Any]:
    """The names that `model` understands: `slug`, `slug@base`, `slug@checkpoint`."""
    names = gateway.model_names(session, person)
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "pairloop"} for name in names]
    return {"object": "list", "data": listed}


@api.post("/v1/chat/completions", response_model=None)
def chat_completions(
    request: Request, person: Person, session: Transaction, opener: Opener, asked: Annotated[dict[str, Any], Body()]
) -> Response:
    """OpenAI's chat completions, streaming too. The project's sampling settings hold where the request has none.

    With `store: true` the caller agrees that the prompt may become one of the project's, where the project wants that.
    """
    token = token_of(request)
    quotas.check(session, token)
    call = gateway.call_for(session, person, asked)
    if asked.get("store") is True:
        _keep_prompt(session, person, asked)
    token_id = token.id if token else None

    def count(usage: dict[str, int]) -> None:
        if token_id is not None:
            with opener() as later:
                quotas.count(later, token_id, usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))

    def whole() -> Response:
        written = gateway.complete(call)
        count(written.get("usage") or {})
        return Response(json.dumps(written, ensure_ascii=False), media_type="application/json")

    def streamed() -> Response:
        opened = anyio.from_thread.run(gateway.open_stream, call)
        return StreamingResponse(opened.events(count), media_type="text/event-stream", headers=EVENTS)

    return Later(streamed if asked.get("stream") else whole)


def _keep_prompt(session: Session, person: Person, asked: dict[str, Any]) -> None:
    access, _checkpoint = gateway.find_model(session, person, asked["model"])
    # What is no prompt (a conversation that ends with the assistant) may still be answered.
    with suppress(BadInput):
        conversations.keep_prompt(session, access, check_messages(asked["messages"]), "api")


@api.post("/api/v1/feedback", status_code=201)
def feedback(person: Person, session: Transaction, sent: Feedback) -> dict[str, str]:
    """A preference from a product's own users becomes a comparison with an answer."""
    access = find_project(session, person, sent.project, None)
    kept = keep_feedback(session, access, sent)
    return {"answer": str(kept.id), "comparison": str(kept.comparison_id)}
