"""The engine: an OpenAI-compatible server over one base model and its adapters.

`python -m workers.language.engine --port 8100 --base-model tiny`, or `pairloop engine`.
"""

import argparse
import asyncio
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.concurrency import run_in_threadpool

from app.settings import settings
from workers.language.checkpoints import Checkpoint, CheckpointRefused, Checkpoints
from workers.language.completions import ChatRequest, choice, chunk_choice, error, first_choice, usage
from workers.language.decode import Event
from workers.language.errors import ContextExceeded, ConversationRefused, ModelUnusable
from workers.language.model import LanguageModel, load
from workers.language.scheduler import Job, Scheduler
from workers.language.tokens import TextStream

log = logging.getLogger(__name__)
LOOK = 0.5  # s between two looks at whether a client that waits is still there


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
        self.scheduler = Scheduler(lm, self.tokens.inc)
        self.rows.set_function(lambda: self.scheduler.active_rows)
        self.scheduler.start()
        self.lm = lm

    def stop(self) -> None:
        """End the decode thread: torch must not be at work when the interpreter goes."""
        if self.lm is not None:
            self.scheduler.close()
            self.scheduler.join(timeout=30)

    def load(self) -> None:
        """Load the model and serve it; remember the sentence if that is impossible."""
        try:
            self.start(load(self.base_model))
            log.info("The engine serves %s.", self.base_model)
        except ModelUnusable as problem:
            self.failed = str(problem)


class Answer:
    """One HTTP request under way: its job, and the text of each choice as it grows."""

    def __init__(self, engine: Engine, lm: LanguageModel, body: ChatRequest, adapter: str | None) -> None:
        self.engine = engine
        self.body = body
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.news: asyncio.Queue[list[Event] | Exception] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        requests = body.requests(lm)
        self.prompt = list(requests[0].prompt)
        self.texts = [TextStream(lm, body.stop) for _ in requests]
        self.token_ids: list[list[int]] = [[] for _ in requests]
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
            shown = text.add(event.token)
            finish = "stop" if text.stopped else event.finish
            if finish:
                shown += text.finish()
                self.finishes[event.key] = finish
                if not event.finish:
                    self.engine.scheduler.drop(self.job, event.key)
            token_ids = [event.token] if self.body.return_token_ids else None
            if shown or finish or token_ids:
                pieces.append(chunk_choice(event.key, shown, finish, token_ids))
        return pieces

    def completion(self) -> dict[str, Any]:
        """The whole answer, once it is done."""
        ids: list[Any] = list(self.token_ids) if self.body.return_token_ids else [None] * len(self.texts)
        choices = [choice(i, text.text, self.finishes[i], ids[i]) for i, text in enumerate(self.texts)]
        prompt = {"prompt_token_ids": self.prompt} if self.body.return_token_ids else {}
        return {**self._head("chat.completion"), **prompt, "choices": choices, "usage": self.usage()}

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

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.body.model}


def create_app(engine: Engine) -> FastAPI:
    """The HTTP application over an engine."""
    app = FastAPI(title="Pairloop engine", docs_url=None, redoc_url=None)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, problem: RequestValidationError) -> Response:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return _refuse(engine, 422, f"{where or 'The body'}: {first['msg']}. Correct it and send the request again.")

    @app.get("/health")
    def health() -> Response:
        if engine.lm is None:
            return JSONResponse({"status": "failed" if engine.failed else "loading", "why": engine.failed}, 503)
        return JSONResponse({"status": "ok", "base_model": engine.base_model})

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(engine.registry), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        model = {"id": engine.base_model, "object": "model", "created": 0, "owned_by": "pairloop"}
        return {"object": "list", "data": [model]}

    @app.post("/v1/chat/completions", response_model=None)
    async def complete(body: ChatRequest, request: Request) -> Response:
        if engine.lm is None:
            why = engine.failed or "The language model is still being loaded. Try again in a few seconds."
            return _refuse(engine, 503, why, kind="server_error")
        if body.model != engine.base_model:
            sentence = f"This engine serves {engine.base_model}, not {body.model}. Name the model it serves."
            return _refuse(engine, 404, sentence, "model_not_found")
        try:
            answer = await _begin(engine, engine.lm, body)
        except ContextExceeded as problem:
            return _refuse(engine, 400, str(problem), "context_length_exceeded")
        except (CheckpointRefused, ConversationRefused) as problem:
            return _refuse(engine, 422, str(problem))
        if body.stream:
            engine.requests.labels("200").inc()
            return StreamingResponse(_stream(answer), media_type="text/event-stream")
        return await _whole(answer, request)

    return app


async def _begin(engine: Engine, lm: LanguageModel, body: ChatRequest) -> Answer:
    wanted = None if body.checkpoint is None else Checkpoint(**body.checkpoint.model_dump())
    adapter = await run_in_threadpool(engine.checkpoints.borrow, wanted)
    try:
        return Answer(engine, lm, body, adapter)
    except BaseException:
        engine.checkpoints.give_back(adapter)
        raise


async def _whole(answer: Answer, request: Request) -> Response:
    """Wait for every choice, and give up when the client does."""
    looked = time.monotonic()
    try:
        while not answer.done:
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                if await request.is_disconnected():
                    return Response(status_code=499)
            try:
                news = await asyncio.wait_for(answer.news.get(), LOOK)
            except TimeoutError:
                continue
            if isinstance(news, Exception):
                return _refuse(answer.engine, 500, str(news), kind="server_error")
            answer.take(news)
        answer.engine.requests.labels("200").inc()
        return JSONResponse(answer.completion())
    finally:
        answer.close()


async def _stream(answer: Answer) -> AsyncIterator[str]:
    """Server-sent events until every choice is finished; a client that goes away ends this generator."""
    try:
        prompt = {"prompt_token_ids": answer.prompt} if answer.body.return_token_ids else {}
        yield answer.chunk([first_choice(index) for index in range(len(answer.texts))], **prompt)
        while not answer.done:
            news = await answer.news.get()
            if isinstance(news, Exception):
                yield f"data: {json.dumps(error(str(news), kind='server_error'))}\n\n"
                break
            if pieces := answer.take(news):
                yield answer.chunk(pieces)
        if answer.body.wants_usage:
            yield answer.chunk([], usage=answer.usage())
        yield "data: [DONE]\n\n"
    finally:
        answer.close()


def _refuse(
    engine: Engine, status: int, message: str, code: str | None = None, kind: str = "invalid_request_error"
) -> Response:
    engine.requests.labels(str(status)).inc()
    return JSONResponse(error(message, code, kind), status)


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to end; 1 if the model cannot be loaded."""
    parser = argparse.ArgumentParser(prog="pairloop engine", epilog="Example: pairloop engine --port 8100")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8100, help="port to listen on")
    parser.add_argument("--base-model", default=settings.base_model, help="name or directory of the base model")
    options = parser.parse_args(arguments)
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    engine = Engine(options.base_model, settings.artifacts, settings.cache_dir / "checkpoints")
    config = uvicorn.Config(
        create_app(engine),
        host=options.host,
        port=options.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)

    def load_or_end() -> None:
        engine.load()
        server.should_exit = engine.failed is not None

    threading.Thread(target=load_or_end, name="load", daemon=True).start()
    server.run()
    engine.stop()
    if engine.failed:
        log.error("%s", engine.failed)
        return 1
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    raise SystemExit(main())
