"""The door of chat: the page, the OpenAI-compatible gateway, feedback."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Body, Form, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from app.accounts.access import MemberOf, Person, find_project, page_context
from app.chat import best_of as candidates
from app.chat import choices, conversations, gateway
from app.chat.feedback import Feedback
from app.chat.feedback import keep as keep_feedback
from app.checkpoints.checkpoints import promoted
from app.database import Transaction, open_session
from app.errors import DomainError, Unavailable
from app.models import Chat
from app.templating import environment, page

pages = APIRouter()
api = APIRouter(tags=["chat"])

EVENTS = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}


@pages.get("/projects/{slug}/chat")
@pages.get("/projects/{slug}/chat/{chat_id}")
def chat_page(request: Request, access: MemberOf, session: Transaction, chat_id: int | None = None) -> Response:
    """A conversation (or the beginning of one) and the person's earlier ones."""
    return page(
        request,
        "chat/chat.html",
        {
            **page_context(access, "chat"),
            "chat": conversations.find(session, access, chat_id) if chat_id else None,
            "recent": conversations.recent(session, access),
            "checkpoint": promoted(session, access.project.id, "policy"),
            "consented": conversations.has_consented(session, access),
            "picker": candidates.picker(session, access.project),
            "most_candidates": candidates.MOST,
        },
    )


@pages.post("/projects/{slug}/chat")
@pages.post("/projects/{slug}/chat/{chat_id}")
def say(
    request: Request,
    access: MemberOf,
    session: Transaction,
    text: Annotated[str, Form()] = "",
    best_of: Annotated[int | None, Form(ge=1, le=candidates.MOST)] = None,
    chat_id: int | None = None,
) -> Response:
    """Say something. Without JavaScript the whole answer is awaited; with it, `answer` streams it afterwards."""
    chat = conversations.say(session, access, chat_id, text, best_of)
    if request.headers.get("accept") == "application/json":
        return Response(json.dumps({"chat": str(chat.id)}), media_type="application/json")
    # While the engine is down the question stays, and the page says that it has no answer yet.
    with suppress(Unavailable):
        if conversations.asks_twice(session, access, chat):
            choices.answer_twice(session, access, chat)
        elif candidates.applies(session, access, chat):
            candidates.answer(session, access, chat)
        else:
            call, checkpoint = conversations.call_for(session, access, chat)
            written = gateway.complete(call)["choices"][0]["message"]["content"] or ""
            conversations.keep_answer(session, chat.id, written.strip(), checkpoint.id if checkpoint else None)
    return RedirectResponse(f"/projects/{access.project.slug}/chat/{chat.id}#end", 303)


@pages.post("/projects/{slug}/chat/{chat_id}/answer")
def answer(access: MemberOf, session: Transaction, chat_id: int) -> Response:
    """Stream the next answer as server-sent events: `piece` with text, then `turns` with the conversation's HTML.

    Where there is something to choose or to pick from, the turns come at once, without pieces.
    """
    chat = conversations.find(session, access, chat_id, lock=True)
    if conversations.asks_twice(session, access, chat) or chat.pending:
        if not chat.pending:
            choices.answer_twice(session, access, chat)
        return Response(_event("turns", _turns(access.project.slug, chat)), media_type="text/event-stream")
    if candidates.applies(session, access, chat):
        candidates.answer(session, access, chat)
        return Response(_event("turns", _turns(access.project.slug, chat)), media_type="text/event-stream")
    call, checkpoint = conversations.call_for(session, access, chat)
    stream = _stream(access.project.slug, chat.id, call, checkpoint.id if checkpoint else None)
    return StreamingResponse(stream, media_type="text/event-stream", headers=EVENTS)


async def _stream(slug: str, chat_id: int, call: gateway.Call, checkpoint_id: int | None) -> AsyncIterator[str]:
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
            turns = await run_in_threadpool(_keep, slug, chat_id, "".join(pieces).strip(), checkpoint_id)
    yield _event("turns", turns)


def _keep(slug: str, chat_id: int, text: str, checkpoint_id: int | None) -> str:
    with open_session() as session:
        chat = conversations.keep_answer(session, chat_id, text, checkpoint_id)
        return _turns(slug, chat) if chat else ""


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _turns(slug: str, chat: Chat) -> str:
    return environment.get_template("chat/_turns.html").render(chat=chat, slug=slug)


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
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "pairloop"} for name in names]}


@api.post("/v1/chat/completions", response_model=None)
def chat_completions(person: Person, session: Transaction, asked: Annotated[dict[str, Any], Body()]) -> Response:
    """OpenAI's chat completions, streaming too. The project's sampling settings hold where the request has none."""
    call = gateway.call_for(session, person, asked)
    if not asked.get("stream"):
        return Response(json.dumps(gateway.complete(call), ensure_ascii=False), media_type="application/json")
    opened = anyio.from_thread.run(gateway.open_stream, call)
    return StreamingResponse(opened.events(), media_type="text/event-stream", headers=EVENTS)


@api.post("/api/v1/feedback", status_code=201)
def feedback(person: Person, session: Transaction, sent: Feedback) -> dict[str, str]:
    """A preference from a product's own users becomes a comparison with an answer."""
    access = find_project(session, person, sent.project, None)
    kept = keep_feedback(session, access, sent)
    return {"answer": str(kept.id), "comparison": str(kept.comparison_id)}
