"""The engine over HTTP: the first token of a streamed chat while it samples pairs, and 16 requests at once beside one.

The engine is the process that `pairloop up` starts, with SmolLM2; the pairs are asked for as the worker asks, so many
requests at a time, two answers each, with features.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.figures import Figure
from workers.pairs import AT_ONCE

MODEL = "smollm2-135m-instruct"
PROMPTS = Path(__file__).parents[1] / "data" / "prompts.jsonl"
STREAMS, PAUSE = 20, 1.0
"""Chats that are streamed, and the seconds between them."""
TOGETHER, TOKENS = 16, 48


def measure() -> list[Figure]:
    """First tokens with and without sampling in the background; the time of 16 requests."""
    texts = [json.loads(line)["prompt"] for line in PROMPTS.read_text().splitlines()]
    with _serving() as url:
        for text in texts[:2]:
            _first_token(url, text)
        quiet = [_first_token(url, texts[index]) for index in range(STREAMS // 2)]
        one = statistics.median(_answer(url, text, TOKENS) for text in texts[:TOGETHER])
        begun = time.perf_counter()
        with ThreadPoolExecutor(TOGETHER) as crowd:
            list(crowd.map(lambda text: _answer(url, text, TOKENS), texts[:TOGETHER]))
        all_of_them = time.perf_counter() - begun
        with _sampling_pairs(url, texts):
            busy = []
            for index in range(STREAMS):
                time.sleep(PAUSE)
                busy.append(_first_token(url, texts[-1 - index]))
    return [
        Figure("first token of a stream, engine idle, median", 1000 * statistics.median(quiet), "ms"),
        Figure(
            "first token of a stream while pairs are sampled, median", 1000 * statistics.median(busy), "ms", at_most=300
        ),
        Figure("… the slowest of 20", 1000 * max(busy), "ms"),
        Figure(f"{TOGETHER} requests at once beside one alone, {TOKENS} tokens", all_of_them / one, "x", at_most=4),
    ]


@contextmanager
def _serving() -> Iterator[str]:
    """The engine's address, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "app.cli", "engine", "--port", str(port)]
    environment = {**os.environ, "PAIRLOOP_BASE_MODEL": MODEL}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1/chat/completions"
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _sampling_pairs(url: str, texts: list[str]) -> Iterator[None]:
    """Ask for pairs all the time, as many requests at once as the worker does."""
    over = threading.Event()

    def work(number: int) -> None:
        while not over.is_set():
            body = _body(texts[number % len(texts)], 80) | {"n": 2, "return_token_ids": True, "return_features": True}
            try:
                httpx.post(url, json=body, timeout=120)
            except httpx.TransportError:
                return  # the engine was told to end
            number += AT_ONCE

    with ThreadPoolExecutor(AT_ONCE) as workers:
        for number in range(AT_ONCE):
            workers.submit(work, number)
        time.sleep(5)
        try:
            yield
        finally:
            over.set()


def _body(text: str, tokens: int) -> dict[str, Any]:
    settings = {"temperature": 0.9, "top_p": 0.95, "max_tokens": tokens}
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **settings}


def _answer(url: str, text: str, tokens: int) -> float:
    """Seconds until the whole answer is there."""
    begun = time.perf_counter()
    httpx.post(url, json=_body(text, tokens) | {"seed": 1}, timeout=300).raise_for_status()
    return time.perf_counter() - begun


def _first_token(url: str, text: str) -> float:
    """Seconds until the first piece of a streamed answer; the rest is not waited for."""
    begun = time.perf_counter()
    with httpx.stream("POST", url, json=_body(text, 16) | {"stream": True}, timeout=120) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                return time.perf_counter() - begun
    raise RuntimeError("The stream brought no text.")
