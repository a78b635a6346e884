"""The one engine, the one place that commits, and the step that brings the schema up to date."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from anyio import CancelScope
from fastapi import Depends
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.settings import settings

if TYPE_CHECKING:
    from alembic.config import Config


@cache
def engine() -> Engine:
    """The process's connection pool. The queue's functions live in the schema `jobs`, ours in `public`."""
    return create_engine(
        settings.database_url,
        pool_size=20,
        max_overflow=20,
        pool_pre_ping=True,
        connect_args={"options": "-c search_path=public,jobs -c timezone=UTC"},
    )


@contextmanager
def open_session() -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises."""
    with Session(engine(), expire_on_commit=False) as session:
        yield session
        session.commit()


async def get_session() -> AsyncIterator[Session]:
    """The request's transaction, committed before the answer leaves (see `Transaction`).

    What waits for Postgres does so in a thread; making the session does not, and each way to a thread costs.
    """
    session = Session(engine(), expire_on_commit=False)
    try:
        yield session
        await run_in_threadpool(session.commit)
        session.close()  # its connection is back already; nothing that is loaded later takes another one
    except BaseException:
        with CancelScope(shield=True):  # a request that is cut off gives its connection back too
            await run_in_threadpool(session.close)
        raise


# scope="function" ends the dependency before the response is sent: a failed commit becomes an error page, never a
# false "saved". Every dependency that itself yields and uses the session must say the same.
Transaction = Annotated[Session, Depends(get_session, scope="function")]


def give_back(session: Session) -> None:
    """End what a request did so far, and with it its hold on a connection; the next statement takes one again.

    For routes that wait long for something else, such as a file on its way in, after the guard let them.
    """
    session.commit()


def get_opener() -> Callable[[], AbstractContextManager[Session]]:
    """What opens a transaction of its own, for work that goes on after the request's has ended (app/later.py)."""
    return open_session


Opener = Annotated[Callable[[], AbstractContextManager[Session]], Depends(get_opener)]


def migrate() -> None:
    """Bring the schema and the queue's own tables to the version of this code."""
    from alembic import command

    from app.queue import upgrade_queue_schema

    command.upgrade(_migrations(), "head")
    upgrade_queue_schema()


@cache
def newest_schema() -> str | None:
    """The version of the tables that this code was written for."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_migrations()).get_current_head()


def _migrations() -> "Config":
    from alembic.config import Config

    root = Path(__file__).resolve().parent.parent
    config = Config(toml_file=root / "pyproject.toml")
    config.set_main_option("script_location", str(root / "migrations"))
    return config
