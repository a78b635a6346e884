"""The fence around a run: a lock in Postgres that only the worker on it holds, gone with the worker's connection.

A worker that is taken for dead but is not, and the one that takes its run up, can so never work on it both.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from app.database import engine

# Advisory locks have two halves; the first one sets ours apart from everybody else's.
ROOM = 7_246_556


@contextmanager
def hold(run_id: int) -> Iterator[Connection | None]:
    """Hold the run's fence on a connection of its own while the block runs; None where somebody else holds it."""
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(text("select pg_try_advisory_lock(:room, :run)"), {"room": ROOM, "run": run_id}):
            yield None
            return
        try:
            yield connection
        finally:
            # A connection whose lock could still be held must not go back into the pool.
            connection.invalidate()


def is_free(session: Session, run_id: int) -> bool:
    """Whether no worker is on the run; if so, none starts on it before this transaction ends."""
    found = session.scalar(text("select pg_try_advisory_xact_lock(:room, :run)"), {"room": ROOM, "run": run_id})
    return bool(found)
