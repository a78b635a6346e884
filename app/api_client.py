"""Pairloop's own JSON API as the commands call it: one caller, every refusal a sentence."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import typer

FINISHED = ("succeeded", "failed", "cancelled")
PAUSE = 1.0  # s between two looks at something that is under way

Url = Annotated[str, typer.Option(help="Address of the running Pairloop.")]
Token = Annotated[
    str,
    typer.Option(envvar="PAIRLOOP_TOKEN", help="API token; `pairloop create-token` prints one.", show_default=False),
]
Slug = Annotated[str, typer.Option(help="The project's short name, as in its address.")]
HERE = "http://127.0.0.1:8000"


class Api:
    """A caller with a token. A refusal ends the command with the server's own sentence on standard error."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Return the answer's JSON."""
        answer = self._client.request(method, f"/api/v1{path}", **more)
        _refuse(answer)
        return answer.json()

    def until_finished(self, path: str) -> dict[str, Any]:
        """Return what `path` describes once its status is a final one; says on standard error what goes on."""
        said = ""
        while True:
            found: dict[str, Any] = self.call("GET", path)
            if found["status"] != said:
                said = found["status"]
                typer.echo(f"{path.strip('/')}: {said}", err=True)
            if said in FINISHED:
                return found
            time.sleep(PAUSE)

    def download(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, piece by piece."""
        with self._client.stream("GET", f"/api/v1{path}") as answer:
            if not answer.is_success:
                answer.read()
            _refuse(answer)
            yield from answer.iter_bytes()


@contextmanager
def signed_in(url: str, token: str) -> Iterator[Api]:
    """A caller for the length of a block."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=600) as client:
            yield Api(client)
    except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as problem:
        typer.echo(f"Pairloop at {url} does not answer ({problem}). Start it, or correct --url.", err=True)
        raise typer.Exit(1) from problem


def _refuse(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    try:
        problem = answer.json()
    except json.JSONDecodeError:
        problem = {}
    sentence = problem.get("detail") or problem.get("title") or f"The server answered with status {answer.status_code}."
    typer.echo(str(sentence), err=True)
    raise typer.Exit(1)
