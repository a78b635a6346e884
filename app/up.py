"""`pairloop up`: the whole of Pairloop on one machine, as supervised children of one command."""

import contextlib
import fcntl
import http.client
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from types import FrameType

from app.embedded_postgres import Server
from app.private_files import make_private_directory, write_private
from app.settings import settings
from app.supervisor import Child, Log, Supervisor, program

TICK = 0.05  # s
WEB_ATTEMPTS = 3  # times that the web process may end before it ever answered


class CannotStart(RuntimeError):
    """Pairloop cannot start here; the message says what to do."""


class Stopping:
    """Counts the requests to stop: the first one ends everything in order, the second one at once."""

    def __init__(self) -> None:
        self.requests = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asks to go on
            signal.signal(signal.SIGHUP, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requests += 1

    def requested(self) -> bool:
        return self.requests > 0

    def at_once(self) -> bool:
        return self.requests > 1


def up() -> None:
    """Start everything as `settings` say, and return when all of it has ended again.

    Raises CannotStart or PostgresError with a sentence.
    """
    stopping, log = Stopping(), Log(sys.stderr)
    with contextlib.ExitStack() as stack:
        _prepare_directory()
        stack.enter_context(_the_only_one())
        _check_address()
        _choose_secret()
        server = None
        if not settings.database_url:
            server = Server(settings.data_dir / "postgres").start()
            stack.callback(server.stop)
            settings.database_url = server.url()
        link = _prepare_database()
        own_engine = "engine_url" not in settings.model_fields_set
        if own_engine:
            settings.engine_url = f"http://127.0.0.1:{_free_port()}"
        supervisor = Supervisor(log, _environment())
        stack.callback(supervisor.stop, stopping.at_once)
        stack.callback(log.line, "pairloop", "Stopping. Ctrl-C again ends everything at once.")
        web = supervisor.add(Child("web", program("app.cli", "web")))
        if _wait_for_web(web, supervisor, stopping):
            _announce(link)
            _add_the_others(supervisor, own_engine)
        while not stopping.requested():
            supervisor.look_after()
            if server is not None and server.live_pid() is None:
                log.line("pairloop", "Postgres ended; starting it again.")
                server.start()
            time.sleep(TICK)


def _add_the_others(supervisor: Supervisor, own_engine: bool) -> None:
    worker = ("app.cli", "worker", "--queues")
    supervisor.add(Child("worker", program(*worker, "default", "--concurrency", "4")))
    supervisor.add(Child("train", program(*worker, "train", "--concurrency", "1")))
    if own_engine:
        # Labelling must not wait for the model, so it is fetched while the pages are already there.
        port = settings.engine_url.rpartition(":")[2]
        engine = Child("engine", program("app.cli", "engine", "--port", port))
        fetch = program("workers.language.model", settings.base_model)
        supervisor.add(Child("model", fetch, when_done=lambda: _start(supervisor, engine)))


def _start(supervisor: Supervisor, child: Child) -> None:
    supervisor.add(child)


def _prepare_directory() -> None:
    try:
        make_private_directory(settings.data_dir)
    except OSError as problem:
        raise CannotStart(
            f"Pairloop cannot use {settings.data_dir} ({problem.strerror}). Choose another data directory: "
            "pairloop up --data DIRECTORY, or make run DATA=DIRECTORY"
        ) from problem


@contextlib.contextmanager
def _the_only_one() -> Iterator[None]:
    """Hold the data directory: two of us in one would train and sample everything twice."""
    path = settings.data_dir / "up.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise CannotStart(
                f"Pairloop already runs with the data directory {settings.data_dir}: {file.read().strip()}. "
                "Use that one, stop it, or choose another directory with --data."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}, {_address()}")
        file.flush()
        yield
        file.truncate(0)


def _check_address() -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[
            0
        ]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except OSError as problem:
        raise CannotStart(
            f"Pairloop cannot listen on port {settings.port} of {settings.host}: {problem.strerror}. "
            f"Choose another: pairloop up --port {settings.port + 1}, or make run PORT={settings.port + 1}"
        ) from problem


def _choose_secret() -> None:
    """Keep the secret that signs short-lived values in the data directory, unless the settings have one."""
    path = settings.data_dir / "secret-key"
    if not settings.secret_key:
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32))
        settings.secret_key = path.read_text()


def _prepare_database() -> str | None:
    """Bring the tables up to date, make the first project; return the first person's link, if it is needed."""
    from app.accounts.invitations import first_person_link
    from app.database import engine, migrate, open_session
    from app.projects.first import make_first_project

    migrate()
    with open_session() as session:
        make_first_project(session)
        link = first_person_link(session)
    engine().dispose()  # this process needs no connection any more
    return link


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    """What the children are given: the settings as they are now, whoever chose them."""
    chosen = {f"PAIRLOOP_{name.upper()}": str(value) for name, value in settings.model_dump(exclude_none=True).items()}
    return {**os.environ, **chosen, "PYTHONUNBUFFERED": "1"}


def _address() -> str:
    everywhere = settings.host in ("0.0.0.0", "::")
    host = "127.0.0.1" if everywhere else f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url.rstrip("/") or f"http://{host}:{settings.port}"


def _wait_for_web(web: Child, supervisor: Supervisor, stopping: Stopping) -> bool:
    """Return True once the pages answer, False when somebody asked to stop before."""
    while not stopping.requested():
        supervisor.look_after()
        if web.failures >= WEB_ATTEMPTS:
            raise CannotStart("The web process ended before it could answer; the lines above say why.")
        if _web_answers():
            return True
        time.sleep(TICK)
    return False


def _web_answers() -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _announce(link: str | None) -> None:
    lines = ["", f"  Pairloop is at {_address()}"]
    if link:
        lines += [f"  Nobody has an account yet. This link makes the first one, once: {_address()}{link}"]
    # The only lines on standard output: everything else is log.
    sys.stdout.write("\n".join([*lines, "  Ctrl-C stops it.", "", ""]))
    sys.stdout.flush()
