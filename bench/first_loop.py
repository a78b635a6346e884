"""The figures of the first loop: how soon there is something to do, what the processes weigh, how long a chain takes.

Uses the default model from the cache (downloads are not counted) and, for the chain, `tiny`; each on an empty data
directory of its own.
"""

import os
import tempfile
import time
from pathlib import Path

import httpx

from bench.figures import Figure
from bench.processes import peak_mb
from demo.client import Client
from demo.stack import Stack, started

MODEL = "smollm2-135m-instruct"
SLUG = "first-project"
PROJECT = f"/api/v1/projects/{SLUG}"
LABELS = 40


def measure() -> list[Figure]:
    """First pair and second start on the default model, then a forced chain on the tiny one."""
    with tempfile.TemporaryDirectory(prefix="pairloop-bench-") as empty:
        data = Path(empty)
        data.chmod(0o755)  # as root, Postgres runs as another user who has to get there
        return [*_starts(data / "default"), *_chain(data / "tiny")]


def _starts(data: Path) -> list[Figure]:
    begun = time.monotonic()
    with started(data, MODEL) as stack:
        _wait_for_pair(stack)
        first_pair = time.monotonic() - begun
        with Client(stack.url, stack.accounts.token) as operator:
            sampling = operator.post(f"{PROJECT}/runs", {"kind": "sample", "params": {"comparisons": 16}})
            operator.wait_for(SLUG, sampling["id"], lambda sentence: None, 300)
        web = peak_mb(os.getpid(), "app.cli web")
        engine = peak_mb(os.getpid(), "app.cli engine")
    begun = time.monotonic()
    with started(data, MODEL):
        second_start = time.monotonic() - begun
    return [
        Figure("first pair on the page, model in the cache", first_pair, "s", at_most=60),
        Figure("second start to a page", second_start, "s", at_most=15),
        Figure("web process, peak", web, "MB", at_most=200),
        Figure("engine, SmolLM2, peak", engine, "MB", at_most=1500),
    ]


def _wait_for_pair(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.accounts.token}"}
    for _ in range(600):
        claimed = httpx.post(f"{stack.url}{PROJECT}/assignments", headers=headers, timeout=30)
        if claimed.status_code == 200:
            return
        claimed.raise_for_status()
        time.sleep(0.2)
    raise RuntimeError("No pair appeared within two minutes.")


def _chain(data: Path) -> list[Figure]:
    with started(data, "tiny") as stack, Client(stack.url, stack.accounts.token) as person:
        for _ in range(LABELS):
            _wait_for_pair(stack)
            assignment = person.post(f"{PROJECT}/assignments", {})
            longer = max(assignment["responses"], key=lambda response: len(response["text"]))
            answer = {"verdict": "preferred", "preferred": longer["id"], "strength": 2}
            person.post(f"/api/v1/assignments/{assignment['assignment']}/answer", answer)
        begun = time.monotonic()
        chain = person.post(f"{PROJECT}/runs", {"kind": "chain", "params": {"force": True}})
        ended = person.wait_for(SLUG, chain["id"], lambda sentence: None, 300)
        took = time.monotonic() - begun
        if ended["status"] != "succeeded":
            raise RuntimeError(f"The chain ended as {ended['status']}: {ended['error']}")
    return [Figure(f"the whole chain on tiny, {LABELS} labels", took, "s", at_most=60)]
