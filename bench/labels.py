"""How many pairs 16 people label in a second: claim and answer over HTTP, on Postgres with fsync on, by real processes.

By the JSON API a label is two requests, a claim and an answer; on the label page it is one, whose reply is the next
pair as HTML. The peer is Label Studio 1.23, measured the same way on the same kind of machine: 7 to 8 labels a second.
"""

import asyncio
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.accounts.access import COOKIE, token_hash
from app.database import engine, migrate, open_session
from app.embedded_postgres import Server
from app.models import (
    ApiToken,
    Comparison,
    GuidelineReading,
    GuidelineVersion,
    LoginSession,
    Project,
    Prompt,
    Response,
    User,
    now,
)
from app.settings import settings
from bench.figures import Figure
from bench.processes import processor_seconds

CLIENTS = 16
WARM_UP, SECONDS = 3.0, 15.0
PAIRS = 20_000
PEER = 7.5
"""Labels a second of Label Studio 1.23 with 16 clients."""
TIMES_THE_PEER = 40
WORDS = "the answer says what a careful reader wants to know and then it stops because nothing more has to be said"


@dataclass(frozen=True)
class Web:
    """A web application that runs: its port, the token of each client (also their cookie), and whose time it takes."""

    port: int
    tokens: list[str]
    process: int = 0
    postgres: int = 0

    def processor_seconds(self) -> dict[str, float]:
        """What the processor has done so far for the web's processes, Postgres and these clients."""
        return {
            "the web": processor_seconds(self.process),
            "Postgres": processor_seconds(self.postgres),
            "the clients": time.process_time(),
        }


@dataclass(frozen=True)
class Measured:
    """How long each label took, in seconds, and the processor time of everybody in it."""

    seconds: list[float]
    processor_seconds: dict[str, float]


def measure() -> list[Figure]:
    """Labels a second and the percentiles of a label's time, by the API and on the page."""
    with tempfile.TemporaryDirectory(prefix="pairloop-bench-") as empty:
        Path(empty).chmod(0o755)  # as root, Postgres runs as another user who has to get there
        server = Server(home=Path(empty) / "postgres")
        server.start()
        try:
            settings.database_url = server.url()
            engine.cache_clear()
            migrate()
            with open_session() as session:
                tokens = fill(session, PAIRS, CLIENTS)
            with serving(tokens, server.live_pid() or 0) as web:
                return [*_figures("JSON API", _crowd(web, by_api)), *_figures("label page", _crowd(web, by_page))]
        finally:
            engine().dispose()
            server.stop()


def fill(session: Session, pairs: int, people: int) -> list[str]:
    """A project with so many pairs to label and people who may; returns a token of each."""
    project = Project(slug="bench", name="Bench", base_model="tiny", sampling={"stock": 0})
    project.guidelines.append(GuidelineVersion(version=1, text="Prefer the answer you would rather receive."))
    crowd = [User(email=f"one{n}@example.org", name=f"One {n}", roles=["annotator"]) for n in range(people)]
    session.add_all([project, *crowd])
    session.flush()
    session.add_all(GuidelineReading(user_id=one.id, version_id=project.guidelines[0].id) for one in crowd)
    asked = [
        {"project_id": project.id, "messages": _asking(n), "hash": str(n), "holdout": False, "sampled": False}
        for n in range(pairs)
    ]
    prompts = session.scalars(insert(Prompt).returning(Prompt.id), asked).all()
    said = [
        {"prompt_id": prompt, "text": f"Number {prompt}{side}: {WORDS}. " * 3, "source": "import"}
        for prompt in prompts
        for side in "ab"
    ]
    responses = session.scalars(insert(Response).returning(Response.id), said).all()
    two = iter(responses)
    session.execute(
        insert(Comparison),
        [
            {
                "project_id": project.id,
                "prompt_id": prompt,
                "response_a_id": next(two),
                "response_b_id": next(two),
                "source": "import",
            }
            for prompt in prompts
        ],
    )
    tokens = [f"bench-token-{n}" for n in range(people)]
    for one, token in zip(crowd, tokens, strict=True):
        hashed = token_hash(token)
        session.add(ApiToken(user_id=one.id, name="bench", prefix=token[:8], token_hash=hashed))
        expires = now().replace(year=now().year + 1)
        session.add(LoginSession(token_hash=hashed, user_id=one.id, expires_at=expires))
    return tokens


def _asking(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Question {number}: what should one know about it, in a few sentences?"}]


@contextmanager
def serving(tokens: list[str], postgres: int = 0) -> Iterator[Web]:
    """`pairloop web`, started as `pairloop up` starts it, on the database that `settings` names."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "app.cli", "web", "--port", str(port)]
    environment = {**os.environ, "PAIRLOOP_DATABASE_URL": settings.database_url}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                time.sleep(0.05)
        yield Web(port, tokens, process.pid, postgres)
    finally:
        process.terminate()
        process.wait(20)


class Client:
    """One person's connection, kept open; as cheap as can be, because it runs on the cores that are measured."""

    def __init__(self, web: Web, token: str) -> None:
        self.web = web
        self.api = f"Authorization: Bearer {token}\r\nContent-Type: application/json"
        self.page = f"Cookie: {COOKIE}={token}\r\nHX-Request: true\r\nContent-Type: application/x-www-form-urlencoded"
        self.held = ""
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, body: str, headers: str) -> str:
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.web.port)
        reader, writer = self.streams
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(f"{head}{body}".encode())
        answered = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answered)
        text = (await reader.readexactly(int(length[1]) if length else 0)).decode()
        if answered.split(b" ", 2)[1] != b"200":
            raise RuntimeError(f"{method} {path} was answered with {answered!r} {text[:300]}")
        return text

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()


async def by_api(client: Client) -> None:
    """One label: claim, then answer."""
    claimed = json.loads(await client.send("POST", "/api/v1/projects/bench/assignments", "", client.api))
    said = {"verdict": "preferred", "preferred": claimed["responses"][0]["id"], "strength": 2}
    await client.send("POST", f"/api/v1/assignments/{claimed['assignment']}/answer", json.dumps(said), client.api)


async def by_page(client: Client) -> None:
    """One label: the answer, whose reply carries the next pair."""
    if not client.held:
        client.held = _assignment(await client.send("GET", "/projects/bench/label", "", client.page))
    form = urlencode({"choice": "left-2", "seconds": "4.2", "rationale": ""})
    client.held = _assignment(await client.send("POST", f"/projects/bench/label/{client.held}", form, client.page))


def _assignment(html: str) -> str:
    found = re.search(r'data-assignment="(\d+)"', html)
    if found is None:
        raise RuntimeError("The page shows no pair.")
    return found[1]


def _crowd(web: Web, label: Callable[[Client], Awaitable[None]]) -> Measured:
    """What all clients at once got done in the measured time."""
    return asyncio.run(_label_together(web, label))


async def _label_together(web: Web, label: Callable[[Client], Awaitable[None]]) -> Measured:
    took: list[float] = []
    begun = time.perf_counter()
    end = begun + WARM_UP + SECONDS

    async def work(token: str) -> None:
        client = Client(web, token)
        while (start := time.perf_counter()) < end:
            await label(client)
            if start > begun + WARM_UP and (ended := time.perf_counter()) < end:
                took.append(ended - start)
        client.close()

    async def processor_time() -> dict[str, float]:
        await asyncio.sleep(WARM_UP)
        before = web.processor_seconds()
        await asyncio.sleep(SECONDS)
        return {name: seconds - before[name] for name, seconds in web.processor_seconds().items()}

    crowd = asyncio.gather(*map(work, web.tokens))
    used = await processor_time()
    await crowd
    return Measured(took, used)


def _figures(way: str, measured: Measured) -> Iterator[Figure]:
    took = measured.seconds
    cut = statistics.quantiles([1000 * seconds for seconds in took], n=100)
    rate = len(took) / SECONDS
    yield Figure(f"labels a second, {CLIENTS} clients, {way}", rate, "/s")
    yield Figure(f"… beside Label Studio's {PEER:g}", rate / PEER, "x", at_least=TIMES_THE_PEER)
    yield Figure(f"a label, {way}, p50", cut[49], "ms")
    yield Figure(f"a label, {way}, p95", cut[94], "ms", at_most=60)
    yield Figure(f"a label, {way}, p99", cut[98], "ms")
    for name, seconds in measured.processor_seconds.items():
        yield Figure(f"… processor time of {name} for it", 1000 * seconds / len(took), "ms")
