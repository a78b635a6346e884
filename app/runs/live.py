"""Live pages: one LISTEN connection per web process fans a run's changes out to every open stream."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.queue import conninfo

log = logging.getLogger(__name__)
CHANNEL = "pairloop_runs"
_listeners: dict[int, set[asyncio.Event]] = {}


def announce(session: Session, project_id: int) -> None:
    """Tell every open page of this project that something changed; sent with the transaction's commit."""
    session.execute(text("select pg_notify(:channel, :project)"), {"channel": CHANNEL, "project": str(project_id)})


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[None]:
    """Keep the LISTEN connection open for the life of the web process."""
    task = asyncio.create_task(_listen_for_ever())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _listen_for_ever() -> None:
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as connection:
                await connection.execute(f"listen {CHANNEL}")
                # What changed while nobody listened is shown now.
                for project_id in list(_listeners):
                    _wake(project_id)
                async for notice in connection.notifies():
                    _wake(int(notice.payload))
        except psycopg.OperationalError:
            log.warning("The live-update connection to Postgres was lost; trying again.")
            await asyncio.sleep(0.5)


def _wake(project_id: int) -> None:
    for event in _listeners.get(project_id, ()):
        event.set()


async def changes(project_id: int, at_least_every: float = 15.0) -> AsyncIterator[None]:
    """Yield now, after each change of the project's runs (several at once count as one), and after a while anyway."""
    event = asyncio.Event()
    _listeners.setdefault(project_id, set()).add(event)
    try:
        while True:
            event.clear()
            yield
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), at_least_every)
    finally:
        _listeners[project_id].discard(event)
