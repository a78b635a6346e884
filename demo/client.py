"""Pairloop's JSON API as the demo uses it."""

import json
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from demo.stack import DemoError

FINISHED = ("succeeded", "failed", "cancelled")
UNAVAILABLE = 503
LOADING = 300  # s for which the language model may still be loaded
Json = dict[str, Any]


class Client:
    """One signed-in caller; every refusal becomes a DemoError with the server's own sentence."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.http.close()

    def get(self, path: str, **query: str) -> Any:
        return self._send("GET", path, params=query)

    def post(self, path: str, body: Any) -> Any:
        return self._send("POST", path, json=body)

    def _send(self, method: str, path: str, **more: Any) -> Any:
        deadline = time.monotonic() + LOADING
        while True:
            try:
                answer = self.http.request(method, path, **more)
            except httpx.TransportError as problem:
                raise DemoError(f"Pairloop at {self.http.base_url} does not answer: {problem}") from problem
            if answer.status_code != UNAVAILABLE or time.monotonic() > deadline:
                break
            time.sleep(2)
        if answer.is_success:
            return answer.json() if answer.content else None
        with_detail = "json" in answer.headers.get("content-type", "")
        said = answer.json() if with_detail else answer.text
        raise DemoError(f"{method} {path} was answered with {answer.status_code}: {_sentence(said)}")

    def items(self, path: str) -> Iterator[Json]:
        """Every item of a list, page after page, newest first."""
        cursor = ""
        while True:
            page = self.get(path, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page["next"]
            if not cursor:
                return

    def wait_for(self, slug: str, run: str, say: Callable[[str], None], patience: float) -> Json:
        """Return the run once it has finished, telling what its steps do meanwhile; `patience` is in seconds."""
        deadline, told = time.monotonic() + patience, ""
        while time.monotonic() < deadline:
            now: Json = self.get(f"/api/v1/runs/{run}")
            if now["status"] in FINISHED:
                return now
            sentence = self._doing(slug, run)
            if sentence != told:
                say(sentence)
                told = sentence
            time.sleep(1)
        raise DemoError(f"Run {run} did not finish within {patience / 60:.0f} minutes. See its page under Runs.")

    def _doing(self, slug: str, chain: str) -> str:
        """What the newest step of a chain does, coarse enough to be told without flooding the screen."""
        newest = self.get(f"/api/v1/projects/{slug}/runs", limit="1")["items"][0]
        step = newest["progress"]
        if newest["chain"] != chain or not step["total"]:
            return f"{newest['kind']}: {newest['message'] or newest['status']}"
        return f"{newest['kind']}: {step['phase']}, {10 * (10 * step['done'] // step['total'])} %"


def _sentence(said: Any) -> str:
    if isinstance(said, dict):
        error = said.get("error")
        nested = error.get("message") if isinstance(error, dict) else None
        return str(nested or said.get("detail") or json.dumps(said))
    return str(said)[:300]
