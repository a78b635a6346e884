"""How many pairs 16 people label in a second: claim and answer over HTTP, on Postgres with fsync on, by real processes.

By the JSON API a label is two requests, a claim and an answer; on the label page it is one, whose reply is the next
pair as HTML. The peer is Label Studio 1.23, measured the same way on the same kind of machine: 7 to 8 labels a second.
"""

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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

CLIENTS = 16
WARM_UP, SECONDS = 3.0, 15.0
PAIRS = 20_000
PEER = 7.5
"""Labels a second of Label Studio 1.23 with 16 clients."""
TIMES_THE_PEER = 40
WORDS = "the answer says what a careful reader wants to know and then it stops because nothing more has to be said"


@dataclass(frozen=True)
class Web:
    """A web application that runs: its port, and the token of each client, which is also their cookie."""

    port: int
    tokens: list[str]


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
            with serving(tokens) as web:
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
def serving(tokens: list[str]) -> Iterator[Web]:
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
        yield Web(port, tokens)
    finally:
        process.terminate()
        process.wait(20)


class Client:
    """One person's connection, kept open."""

    def __init__(self, web: Web, token: str) -> None:
        self.http = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
        self.api = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.page = {
            "Cookie": f"{COOKIE}={token}",
            "HX-Request": "true",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self.held = ""

    def send(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> str:
        self.http.request(method, path, body, headers)
        reply = self.http.getresponse()
        text = reply.read().decode()
        if reply.status != 200:
            raise RuntimeError(f"{method} {path} was answered with {reply.status}: {text[:300]}")
        return text


def by_api(client: Client) -> None:
    """One label: claim, then answer."""
    claimed = json.loads(client.send("POST", "/api/v1/projects/bench/assignments", None, client.api))
    said = {"verdict": "preferred", "preferred": claimed["responses"][0]["id"], "strength": 2}
    client.send("POST", f"/api/v1/assignments/{claimed['assignment']}/answer", json.dumps(said), client.api)


def by_page(client: Client) -> None:
    """One label: the answer, whose reply carries the next pair."""
    if not client.held:
        client.held = _assignment(client.send("GET", "/projects/bench/label", None, client.page))
    form = urlencode({"choice": "left-2", "seconds": "4.2", "rationale": ""})
    client.held = _assignment(client.send("POST", f"/projects/bench/label/{client.held}", form, client.page))


def _assignment(html: str) -> str:
    found = re.search(r'data-assignment="(\d+)"', html)
    if found is None:
        raise RuntimeError("The page shows no pair.")
    return found[1]


def _crowd(web: Web, label: Callable[[Client], None]) -> list[tuple[float, float]]:
    """When each label within the measured time ended, and how long it took, in seconds."""
    took: list[tuple[float, float]] = []
    lock = threading.Lock()
    begun = time.perf_counter()

    def work(token: str) -> None:
        client = Client(web, token)
        mine = []
        while (start := time.perf_counter()) < begun + WARM_UP + SECONDS:
            label(client)
            if start > begun + WARM_UP:
                mine.append((start, time.perf_counter() - start))
        with lock:
            took.extend(mine)

    with ThreadPoolExecutor(len(web.tokens)) as threads:
        list(threads.map(work, web.tokens))
    return took


def _figures(way: str, took: list[tuple[float, float]]) -> Iterator[Figure]:
    milliseconds = [1000 * seconds for _at, seconds in took]
    cut = statistics.quantiles(milliseconds, n=100)
    rate = len(took) / SECONDS
    yield Figure(f"labels a second, {CLIENTS} clients, {way}", rate, "/s")
    yield Figure(f"… beside Label Studio's {PEER:g}", rate / PEER, "x", at_least=TIMES_THE_PEER)
    yield Figure(f"a label, {way}, p50", cut[49], "ms")
    yield Figure(f"a label, {way}, p95", cut[94], "ms", at_most=60)
    yield Figure(f"a label, {way}, p99", cut[98], "ms")
