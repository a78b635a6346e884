"""The engine: an OpenAI-compatible server over one base model and its adapters.

`python -m workers.language.engine --port 8100 --base-model tiny`, or `pairloop engine`.
"""

import argparse
import asyncio
import logging
import os
import threading
from functools import partial
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import generate_latest
from starlette.concurrency import run_in_threadpool

from app.settings import settings
from workers.language.checkpoints import Checkpoint, CheckpointRefused
from workers.language.completions import ChatRequest, FeaturesRequest, ScoreRequest, error
from workers.language.errors import ContextExceeded, ConversationRefused
from workers.language.model import LanguageModel
from workers.language.scheduler import EngineFailed
from workers.language.serving import Answer, Engine, NotServed, stream, whole
from workers.reward import features

log = logging.getLogger(__name__)


def create_app(engine: Engine) -> FastAPI:
    """The HTTP application over an engine."""
    app = FastAPI(title="Pairloop engine", docs_url=None, redoc_url=None)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, problem: RequestValidationError) -> Response:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return _refuse(engine, 422, f"{where or 'The body'}: {first['msg']}. Correct it and send the request again.")

    @app.exception_handler(NotServed)
    async def not_served(_request: Request, problem: NotServed) -> Response:
        code, kind = (None, "server_error") if problem.status >= 500 else ("model_not_found", "invalid_request_error")
        return _refuse(engine, problem.status, str(problem), code, kind)

    @app.exception_handler(EngineFailed)
    async def failed(_request: Request, problem: EngineFailed) -> Response:
        return _refuse(engine, 500, str(problem), kind="server_error")

    @app.exception_handler(ContextExceeded)
    async def too_long(_request: Request, problem: ContextExceeded) -> Response:
        return _refuse(engine, 400, str(problem), "context_length_exceeded")

    @app.exception_handler(CheckpointRefused)
    @app.exception_handler(ConversationRefused)
    async def unfit(_request: Request, problem: Exception) -> Response:
        return _refuse(engine, 422, str(problem))

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
        answer = await _begin(engine, engine.served(body.model), body)
        if body.stream:
            engine.requests.labels("200").inc()
            return StreamingResponse(stream(answer), media_type="text/event-stream")
        completion = await whole(answer, request)
        return Response(status_code=499) if completion is None else JSONResponse(completion)

    @app.post("/v1/score", response_model=None)
    async def score(body: ScoreRequest) -> Response:
        engine.served(body.model)
        messages = [turn.model_dump() for turn in body.messages]
        work = partial(engine.scorer.scores, Checkpoint(**body.checkpoint.model_dump()), messages, body.responses)
        scores = await asyncio.wrap_future(engine.scheduler.between_steps(work))
        engine.requests.labels("200").inc()
        return JSONResponse({"model": body.model, "scores": scores})

    @app.post("/v1/features", response_model=None)
    async def read_features(body: FeaturesRequest) -> Response:
        lm = engine.served(body.model)
        rows = await run_in_threadpool(lambda: [features.row_of(lm, **item.model_dump()) for item in body.items])
        read = iter(await engine.features(lm, [row for row in rows if row is not None]))
        engine.requests.labels("200").inc()
        # A prompt that the model cannot read has no features, and never will have.
        found = [None if row is None else next(read) for row in rows]
        return JSONResponse({"model": body.model, "features_from": features.name_of(lm), "features": found})

    return app


async def _begin(engine: Engine, lm: LanguageModel, body: ChatRequest) -> Answer:
    wanted = None if body.checkpoint is None else Checkpoint(**body.checkpoint.model_dump())
    adapter = await run_in_threadpool(engine.checkpoints.borrow, wanted)
    try:
        return Answer(engine, lm, body, adapter)
    except BaseException:
        engine.checkpoints.give_back(adapter)
        raise


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
