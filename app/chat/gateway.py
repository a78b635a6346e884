"""The OpenAI-compatible door: `model` names a project and a checkpoint, everything else is the engine's work.

`slug` is the project's promoted policy, `slug@base` its base model, `slug@12` checkpoint 12.
"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app import engine
from app.accounts.access import Access, find_project, visible_projects
from app.checkpoints.checkpoints import promoted
from app.errors import BadInput, NotFound, Unavailable
from app.languages import _
from app.models import Checkpoint, User
from app.models.policies import Sampling

# What a request may set and the engine understands; anything else is ignored, as OpenAI-compatible servers do.
PASSED_ON = (
    *("temperature", "top_p", "max_tokens", "max_completion_tokens", "n", "seed", "stop"),
    *("logprobs", "top_logprobs", "return_token_ids"),
)
LONGEST_ANSWER = 512
"""Tokens of an answer where the request sets no limit."""


@dataclass(frozen=True)
class Call:
    """One chat completion, ready for the engine that serves its base model."""

    name: str
    base_model: str
    body: dict[str, Any]
    wants_usage: bool = False
    """Whether a stream ends with the number of tokens."""

    @property
    def writer(self) -> str:
        """Who writes: `checkpoint-12`, or `base`. OpenAI's field `system_fingerprint` says it with every answer."""
        checkpoint = self.body.get("checkpoint")
        return f"checkpoint-{checkpoint['id']}" if checkpoint else "base"

    @property
    def url(self) -> str:
        return f"{engine.url_for(self.base_model)}/v1/chat/completions"


def find_model(session: Session, person: User, name: str) -> tuple[Access, Checkpoint | None]:
    """The project and checkpoint (None: the base model) that a name means; NotFound says what to write instead."""
    slug, _at, wanted = name.partition("@")
    access = find_project(session, person, slug, None)
    if wanted == "base":
        return access, None
    if not wanted:
        return access, promoted(session, access.project.id, "policy")
    checkpoint = session.scalar(
        select(Checkpoint).where(
            Checkpoint.project_id == access.project.id,
            Checkpoint.kind == "policy",
            Checkpoint.id == (int(wanted) if wanted.isdecimal() and len(wanted) < 19 else -1),
        )
    )
    if checkpoint is None or checkpoint.removed_at is not None:
        raise NotFound(
            f"{name!r} is not a model. Write {slug} for the promoted one, {slug}@base, or see GET /v1/models."
        )
    return access, checkpoint


def model_names(session: Session, person: User) -> list[str]:
    """Every name `find_model` understands for this person: per project the promoted one, the base, each checkpoint."""
    names = []
    for project in visible_projects(session, person):
        if project.archived_at is None:
            checkpoints = session.scalars(
                select(Checkpoint.id)
                .where(Checkpoint.project_id == project.id, Checkpoint.kind == "policy", Checkpoint.status != "retired")
                .where(Checkpoint.removed_at.is_(None))
                .order_by(Checkpoint.id.desc())
            )
            names += [project.slug, f"{project.slug}@base", *(f"{project.slug}@{number}" for number in checkpoints)]
    return names


def call_for(session: Session, person: User, asked: dict[str, Any]) -> Call:
    """Turn an OpenAI request into the engine's: its checkpoint, and the project's sampling where it sets none."""
    name = asked.get("model")
    if not isinstance(name, str) or not isinstance(asked.get("messages"), list):
        raise BadInput("Send a JSON object with `model` (see GET /v1/models) and `messages`.")
    access, checkpoint = find_model(session, person, name)
    sampling = Sampling.from_json(access.project.sampling)
    draw = engine.Draw(sampling.temperature, sampling.top_p, LONGEST_ANSWER)
    body = engine.request_body(access.project.base_model, checkpoint, asked["messages"], draw)
    body.update({key: asked[key] for key in PASSED_ON if asked.get(key) is not None})
    if asked.get("max_completion_tokens") is not None:
        body.pop("max_tokens")
    options = asked.get("stream_options")
    wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return Call(name, access.project.base_model, body, wants_usage)


def complete(call: Call) -> dict[str, Any]:
    """The whole answer at once, under the name that was asked for and with who wrote it."""
    with httpx.Client() as client:
        written = engine.complete(client, call.base_model, call.body)
    return {**written, "model": call.name, "system_fingerprint": call.writer}


@dataclass
class Stream:
    """An opened stream of the engine's chunks; opened before any header leaves, so that a refusal keeps its status."""

    client: httpx.AsyncClient
    response: httpx.Response
    call: Call
    usage: dict[str, int] = field(default_factory=dict)
    """Tokens read and written so far, as far as the engine says."""

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """The engine's JSON chunks, under the name that was asked for. Closing the iterator stops the engine's work."""
        known = {"model": self.call.name, "system_fingerprint": self.call.writer}
        try:
            async for line in self.response.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                self.usage = chunk.pop("usage", None) or self.usage
                if chunk.get("choices") or "error" in chunk:
                    yield {**chunk, **known}
                elif self.call.wants_usage:
                    yield {**chunk, **known, "usage": self.usage}
        except httpx.HTTPError:
            yield {"error": {"message": _(engine.DOWN)}}
        finally:
            await self.response.aclose()
            await self.client.aclose()

    async def events(self, count: Callable[[dict[str, int]], None]) -> AsyncIterator[str]:
        """The same as server-sent events in OpenAI's form; `count` hears of the tokens, however the stream ends."""
        try:
            async for chunk in self.chunks():
                yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(count, self.usage)
        # Counted by now: who asks again as soon as the stream has ended meets the limit.
        yield "data: [DONE]\n\n"


async def open_stream(call: Call) -> Stream:
    """Start a streamed completion; raises what the engine refuses as our own error."""
    client = httpx.AsyncClient(timeout=engine.TIMEOUT)
    try:
        # vLLM's name for it: the count comes with every piece, so that it is known when the reader leaves early.
        options = {"include_usage": True, "continuous_usage_stats": True}
        body = {**call.body, "stream": True, "stream_options": options}
        request = client.build_request("POST", call.url, json=body)
        response = await client.send(request, stream=True)
        if not response.is_success:
            text = (await response.aread()).decode(errors="replace")
            raise engine.refused(response.status_code, text, response.headers.get("content-type", ""))
    except httpx.HTTPError as problem:
        await client.aclose()
        raise Unavailable(_(engine.DOWN)) from problem
    except BaseException:
        await client.aclose()
        raise
    return Stream(client, response, call)
