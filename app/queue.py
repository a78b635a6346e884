"""The queue on Postgres (procrastinate): jobs enqueued by name in the caller's own transaction."""

import json
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
from procrastinate.schema import SchemaManager, migrations_path
from procrastinate.types import TimeDeltaParams
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from app.settings import settings

# The queue's tables live in a Postgres schema of their own, versioned beside Alembic's.
SEARCH_PATH = "-c search_path=jobs,public"

TRAIN = "train"
"""One job at a time: training children."""
DEFAULT = "default"
"""Everything else."""


def conninfo() -> str:
    """The database URL in libpq's own form, for psycopg and procrastinate."""
    url = make_url(settings.database_url)
    parts: dict[str, Any] = {
        "host": url.host,
        "port": url.port,
        "dbname": url.database,
        "user": url.username,
        "password": url.password,
        **url.query,
    }
    return psycopg.conninfo.make_conninfo("", **{key: value for key, value in parts.items() if value is not None})


class _Connector(procrastinate.PsycopgConnector):
    """Reads the database's address when the queue is opened, not when this module is imported."""

    async def open_async(self, pool: Any = None) -> None:
        self._pool_args["conninfo"] = conninfo()
        await super().open_async(pool)


# The web enqueues by name; only `pairloop worker` imports workers/jobs.py, which registers the functions behind them.
queue = procrastinate.App(connector=_Connector(kwargs={"options": SEARCH_PATH}))

# Only ever puts jobs on the caller's connection, so it is never opened. A worker's own `queue` could not: once open for
# asyncio it takes no synchronous connection.
_enqueuer = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


def enqueue(
    session: Session,
    task: str,
    queue_name: str = DEFAULT,
    lock: str | None = None,
    delay_seconds: int = 0,
    **arguments: Any,
) -> None:
    """Put a job on the queue inside the session's transaction: rolled back with it, visible with its commit."""
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    later: TimeDeltaParams | None = {"seconds": delay_seconds} if delay_seconds else None
    job = _enqueuer.configure_task(task, queue=queue_name, lock=lock, connection=connection, schedule_in=later)
    job.defer(**arguments)


_WAITING = text(
    "select 1 from jobs.procrastinate_jobs "
    "where task_name = :task and status = 'todo' and args = cast(:arguments as jsonb) limit 1"
)


def is_waiting(session: Session, task: str, **arguments: Any) -> bool:
    """Whether such a job waits already; two transactions at once may both hear no."""
    found = session.scalar(_WAITING, {"task": task, "arguments": json.dumps(arguments)})
    return found is not None


def upgrade_queue_schema() -> list[str]:
    """Create the queue's tables, or run the migrations its package brought since; returns what ran."""
    with psycopg.connect(conninfo()) as connection:
        connection.execute("select pg_advisory_xact_lock(hashtext('pairloop queue schema'))")
        connection.execute("create schema if not exists jobs")
        connection.execute("set local search_path = jobs, public")
        connection.execute("create table if not exists queue_migrations (name text primary key)")
        known = {name for (name,) in connection.execute("select name from queue_migrations")}
        files = sorted(Path(migrations_path).glob("*.sql"))
        row = connection.execute("select to_regclass('jobs.procrastinate_jobs')").fetchone()
        if row is None or row[0] is None:
            connection.execute(SchemaManager.get_schema().encode())
            ran = ["schema.sql"]
        else:
            ran = [file.name for file in files if file.name not in known]
            for name in ran:
                connection.execute(Path(migrations_path, name).read_bytes())
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into queue_migrations (name) values (%s) on conflict do nothing",
                [(file.name,) for file in files],
            )
        return ran
