"""What the engine's routes share, and one chat completion under way."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge

from workers.language.checkpoints import Checkpoints
from workers.language.completions import ChatRequest, choice, chunk_choice, error, first_choice, logprobs_of, usage
from workers.language.decode import Event
from workers.language.errors import ModelUnusable
from workers.language.logprobs import Row
from workers.language.model import LanguageModel, load
from workers.language.scheduler import Job, Scheduler
from workers.language.tokens import TextStream
from workers.reward import features
from workers.reward.scorer import Scorer

log = logging.getLogger(__name__)
LOOK = 0.5  # s between two looks at whether a client that waits is still there


class NotServed(Exception):
    """This engine does not answer for this model, or not yet."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """What the routes share: the model once it is loaded, its adapters, the decode thread, the counters."""

    def __init__(self, base_model: str, artifacts_root: str, cache: Path) -> None:
        self.base_model = base_model
        self.artifacts_root = artifacts_root
        self.cache = cache
        self.lm: LanguageModel | None = None
        self.failed: str | None = None
        self.registry = CollectorRegistry()
        self.tokens = Counter("pairloop_engine_tokens", "Sampled tokens.", registry=self.registry)
        self.requests = Counter("pairloop_engine_requests", "Answered requests.", ["status"], registry=self.registry)
        self.rows = Gauge("pairloop_engine_active_rows", "Unfinished responses.", registry=self.registry)

    def start(self, lm: LanguageModel) -> None:
        """Serve this model."""
        self.checkpoints = Checkpoints(lm, self.artifacts_root, self.cache)
        self.scorer = Scorer(lm, self.artifacts_root)
        self.scheduler = Scheduler(lm, self.tokens.inc)
        self.rows.set_function(lambda: self.scheduler.active_rows)
        self.scheduler.start()
        self.lm = lm

    def stop(self) -> None:
        """End the decode thread: torch must not be at work when the interpreter goes."""
        if self.lm is not None:
            self.scheduler.close()
            self.scheduler.join(timeout=30)

    def served(self, model: str) -> LanguageModel:
        """Return the model of this name; raises NotServed."""
        if self.lm is None:
            raise NotServed(503, self.failed or "The language model is still being loaded. Try again in a few seconds.")
        if model != self.base_model:
            raise NotServed(404, f"This engine serves {self.base_model}, not {model}. Name the model it serves.")
        return self.lm

    async def features(self, lm: LanguageModel, rows: Sequence[Row]) -> list[str]:
        """Each row's features by the base model, read in the decode thread a portion at a time between its steps."""
        found = [""] * len(rows)
        for portion in features.portions(rows):
            work = partial(features.read, lm, [rows[index] for index in portion])
            read = await asyncio.wrap_future(self.scheduler.between_steps(work))
            for index, one in zip(portion, read, strict=True):
                found[index] = one
        return found

    def load(self) -> None:
        """Load the model and serve it; remember the sentence if that is impossible."""
        try:
            self.start(load(self.base_model))
            log.info("The engine serves %s.", self.base_model)
        except ModelUnusable as problem:
            self.failed = str(problem)
            log.error("The engine cannot serve %s: %s", self.base_model, problem)


class Answer:
    """One HTTP request under way: its job, and the text of each choice as it grows."""

    def __init__(self, engine: Engine, lm: LanguageModel, body: ChatRequest, adapter: str | None) -> None:
        self.engine = engine
        self.lm = lm
        self.body = body
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.news: asyncio.Queue[list[Event] | Exception] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        requests = body.requests(lm)
        self.prompt = list(requests[0].prompt)
        self.texts = [TextStream(lm, body.stop) for _ in requests]
        self.token_ids: list[list[int]] = [[] for _ in requests]
        self.events: list[list[Event]] = [[] for _ in requests]
        self.finishes: dict[int, Any] = {}

        def sink(news: list[Event] | Exception) -> None:
            loop.call_soon_threadsafe(self.news.put_nowait, news)

        self.job = Job(requests, adapter, body.stream, sink)
        engine.scheduler.submit(self.job)

    @property
    def done(self) -> bool:
        """Whether every choice is finished."""
        return len(self.finishes) == len(self.texts)

    def take(self, events: list[Event]) -> list[dict[str, Any]]:
        """Add tokens to their choices; return the pieces that a stream shows."""
        pieces = []
        for event in events:
            if event.key in self.finishes:
                continue
            text = self.texts[event.key]
            self.token_ids[event.key].append(event.token)
            self.events[event.key].append(event)
            shown = text.add(event.token)
            finish = "stop" if text.stopped else event.finish
            if finish:
                shown += text.finish()
                self.finishes[event.key] = finish
                if not event.finish:
                    self.engine.scheduler.drop(self.job, event.key)
            more = self._asked_for([event])
            if shown or finish or more:
                pieces.append(chunk_choice(event.key, shown, finish, **more))
        return pieces

    def completion(self) -> dict[str, Any]:
        """The whole answer, once it is done."""
        more = [self._asked_for(events) for events in self.events]
        choices = [choice(i, text.text, self.finishes[i], **more[i]) for i, text in enumerate(self.texts)]
        prompt = {"prompt_token_ids": self.prompt} if self.body.return_token_ids else {}
        return {**self._head("chat.completion"), **prompt, "choices": choices, "usage": self.usage()}

    async def with_features(self, completion: dict[str, Any]) -> dict[str, Any]:
        """The same with what the base model makes of each answer, whichever checkpoint wrote it."""
        rows = [features.cut(self.lm, self.prompt, ids) for ids in self.token_ids]
        read = await self.engine.features(self.lm, rows)
        for written, one in zip(completion["choices"], read, strict=True):
            written["features"] = one
        return {**completion, "features_from": features.name_of(self.lm)}

    def chunk(self, choices: list[dict[str, Any]], **more: Any) -> str:
        """One server-sent event of a stream."""
        return f"data: {json.dumps({**self._head('chat.completion.chunk'), 'choices': choices, **more})}\n\n"

    def usage(self) -> dict[str, int]:
        """Tokens read and written so far."""
        return usage(len(self.prompt), sum(map(len, self.token_ids)))

    def close(self) -> None:
        """Leave the batch, finished or not."""
        self.engine.scheduler.cancel(self.job)
        self.engine.checkpoints.give_back(self.job.adapter)

    def _asked_for(self, events: list[Event]) -> dict[str, Any]:
        """What a request asked for about some tokens besides their text."""
        ids = {"token_ids": [event.token for event in events]} if self.body.return_token_ids else {}
        return ids | ({"logprobs": logprobs_of(self.lm, events)} if self.body.logprobs else {})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.body.model}


async def whole(answer: Answer, request: Request) -> dict[str, Any] | None:
    """Wait for every choice and return the completion, or None once the client has gone.

    Raises EngineFailed, ContextExceeded.
    """
    looked = time.monotonic()
    try:
        while not answer.done:
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                if await request.is_disconnected():
                    return None
            try:
                news = await asyncio.wait_for(answer.news.get(), LOOK)
            except TimeoutError:
                continue
            if isinstance(news, Exception):
                raise news
            answer.take(news)
        completion = answer.completion()
        if answer.body.return_features:
            completion = await answer.with_features(completion)
        answer.engine.requests.labels("200").inc()
        return completion
    finally:
        answer.close()


async def stream(answer: Answer) -> AsyncIterator[str]:
    """Server-sent events until every choice is finished; a client that goes away ends this generator."""
    continuous = answer.body.stream_options is not None and answer.body.stream_options.continuous_usage_stats
    try:
        prompt = {"prompt_token_ids": answer.prompt} if answer.body.return_token_ids else {}
        yield answer.chunk([first_choice(index) for index in range(len(answer.texts))], **prompt)
        while not answer.done:
            news = await answer.news.get()
            if isinstance(news, Exception):
                yield f"data: {json.dumps(error(str(news), kind='server_error'))}\n\n"
                break
            if pieces := answer.take(news):
                yield answer.chunk(pieces, **({"usage": answer.usage()} if continuous else {}))
        if answer.body.wants_usage:
            yield answer.chunk([], usage=answer.usage())
        yield "data: [DONE]\n\n"
    finally:
        answer.close()
