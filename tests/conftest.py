"""A real Postgres for every test: one server per session, one transaction per test, and a cast of named people."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

# Before numpy is loaded: on busy cores its second thread makes small matrices several times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The application reads its settings when it is imported, so the database must stand before that.
_home: tempfile.TemporaryDirectory[str] | None = None
_server = None


def pytest_configure(config: pytest.Config) -> None:
    global _home, _server
    if config.getoption("numprocesses", None):
        if "PAIRLOOP_TEST_DATABASE_URL" in os.environ:
            raise pytest.UsageError("PAIRLOOP_TEST_DATABASE_URL names one database: run the tests with -n 0.")
        return  # this process only hands the files out; each of the others has a Postgres of its own
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("PAIRLOOP_BASE_MODEL", "tiny")
    os.environ.setdefault("PAIRLOOP_SECRET_KEY", "only-for-tests")
    _home = tempfile.TemporaryDirectory(prefix="pairloop-tests-", ignore_cleanup_errors=True)
    # Postgres does not run as root; its unprivileged user must be able to reach its own directory.
    Path(_home.name).chmod(0o755)
    os.environ["PAIRLOOP_DATA_DIR"] = str(Path(_home.name) / "data")
    url = os.environ.get("PAIRLOOP_TEST_DATABASE_URL")
    if url is None:
        from app.embedded_postgres import Server

        _server = Server(home=Path(_home.name) / "postgres", durable=False)
        _server.start()
        url = _server.url()
    os.environ["PAIRLOOP_DATABASE_URL"] = url
    from app.settings import settings

    # The conftest of a folder named on the command line is read before this; it may have brought the settings along.
    settings.__init__()  # type: ignore[misc]


def pytest_unconfigure(config: pytest.Config) -> None:
    if _home is None:
        return
    from app.database import engine

    engine().dispose()
    if _server is not None:
        _server.stop()
    _home.cleanup()


@pytest.fixture(scope="session")
def migrated() -> None:
    """The schema, made by the real migrations."""
    from app.database import migrate

    migrate()


@pytest.fixture
def session(migrated: None) -> Iterator[Session]:
    """A session inside an outer transaction: product code commits, the test still leaves nothing behind."""
    from app.database import engine

    with engine().connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            yield session
        outer.rollback()


@pytest.fixture
def committed(migrated: None) -> Iterator[None]:
    """For tests whose work several connections or processes must see: what they commit is emptied out afterwards."""
    from app.database import open_session
    from app.models import Base

    yield
    tables = [table.name for table in Base.metadata.sorted_tables]
    names = ", ".join([*tables, "jobs.procrastinate_jobs", "jobs.procrastinate_workers"])
    # A process of the test may still end a request, such as the one a browser sends when a page is left. It shall win:
    # this gives way long before Postgres looks for a deadlock and perhaps ends the request instead.
    for tries_left in reversed(range(20)):
        try:
            with open_session() as session:
                session.execute(text("set local lock_timeout = '300ms'"))
                session.execute(text("alter table audit_events disable trigger only_added_to"))
                session.execute(text(f"truncate {names} restart identity cascade"))
                session.execute(text("alter table audit_events enable trigger only_added_to"))
            return
        except OperationalError:
            if not tries_left:
                raise


@pytest.fixture
def client(session: Session) -> Iterator[TestClient]:
    """The web application on the test's own transaction; signs nobody in."""
    from app.database import get_opener, get_session
    from app.main import app

    def same_session() -> Iterator[Session]:
        session.commit()  # what the test made stays where the request fails
        try:
            yield session
            session.commit()
        except BaseException:
            session.rollback()
            raise
        session.expire_all()

    app.dependency_overrides[get_session] = same_session
    app.dependency_overrides[get_opener] = lambda: contextmanager(same_session)
    try:
        # Not entered as a context manager: the live-update connection is not needed here.
        yield TestClient(app, base_url="http://testserver", follow_redirects=False)
    finally:
        app.dependency_overrides.clear()


@pytest.fixture(scope="session")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real engine in a process of its own on the tiny model; `settings.engine_url` names it."""
    from app.settings import settings

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("engine") / "log"
    command = [sys.executable, "-m", "workers.language.engine", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--base-model", "tiny"], stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 300  # torch alone takes a minute to load on a machine that has other work
    while not _answers(f"{url}/health"):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "the engine did not become ready:\n" + log.read_text()
        time.sleep(0.1)
    settings.engine_url = url
    yield url
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False
