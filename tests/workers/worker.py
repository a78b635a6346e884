"""A real worker for tests: in this process until no job is left, or in a process of its own."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from app.database import open_session
from app.models import Run
from app.queue import queue
from app.runs import runs
from app.settings import settings
from workers import jobs, periodic  # registers the jobs' functions

# A worker in the test's own process does what the test asked for; what every minute brings has tests of its own.
queue.periodic_registry.periodic_tasks.clear()

ROOT = Path(__file__).parents[2]
SAY = "import json, os, signal, sys, time\ndef say(**line): print(json.dumps(line), flush=True)\n"


def work_until_idle() -> None:
    """Do every job that may be done now."""

    async def work() -> None:
        async with queue.open_async():
            await queue.run_worker_async(
                queues=["train", "default"],
                concurrency=4,
                wait=False,
                install_signal_handlers=False,
                listen_notify=False,
                # A busy machine may need minutes for what a child does in seconds.
                shutdown_graceful_timeout=300,
            )

    asyncio.run(work())
    # What a job put on the queue while it held its lock is only now free.
    while _due_jobs():
        asyncio.run(work())


def _due_jobs() -> int:
    with open_session() as session:
        due = "status = 'todo' and coalesce(scheduled_at, now()) <= now()"
        return int(session.scalar(text(f"select count(*) from jobs.procrastinate_jobs where {due}")) or 0)


@contextmanager
def worker(stalled: float = 2.0, child: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process; `child` is code that takes the place of the trainer in its training children."""
    program = [
        "import logging, sys",
        "from workers import jobs, launch, periodic",
        "logging.basicConfig(level=logging.INFO)",
        f"jobs.HEARTBEAT, periodic.STALLED = 0.5, {stalled}",
        f"child = {SAY + child if child else None!r}",
        "if child: launch.training_command = lambda spec: [sys.executable, '-c', child, spec]",
        "jobs.work(['train', 'default'], 4)",
    ]
    environment = {**os.environ, "PAIRLOOP_ENGINE_URL": settings.engine_url}
    process = subprocess.Popen([sys.executable, "-c", "\n".join(program)], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def state(run_id: int) -> Run:
    """The run as every other process sees it now."""
    with open_session() as session:
        run = session.get_one(Run, run_id)
        session.expunge(run)
        return run


def cancel(run_id: int) -> None:
    """Cancel as the web does, and commit."""
    with open_session() as session:
        runs.cancel(session, session.get_one(Run, run_id))


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> float:
    """Wait for it, fail if it does not come, and say how long it took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < seconds, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - begun


__all__ = ["SAY", "cancel", "jobs", "periodic", "state", "wait_until", "work_until_idle", "worker"]
