"""`pairloop up` for real, on the model `tiny`: it answers, it ends completely, it comes back."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.directories import short_directory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts the processes that are left, in /proc")

SECOND_START = 15.0  # s, promised


class Up:
    """One `pairloop up` in a process of its own."""

    def __init__(self, data: Path, port: int, **variables: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PAIRLOOP_")}
        self.data = data
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            **kept,
            "PAIRLOOP_BASE_MODEL": "tiny",
            "PAIRLOOP_CACHE_DIR": str(data.parent / "models"),
            "PAIRLOOP_DATA_DIR": str(data),
            **variables,
        }
        self.log = (data.parent / f"log-{time.monotonic_ns()}").open("w+")
        self.process = subprocess.Popen(
            [*pairloop(), "up", "--port", str(port), "--data", str(data)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def wait_for_address(self) -> str:
        """Return what it prints on standard output up to its last line."""
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if "Ctrl-C" in line:
                return said
        raise AssertionError(f"it ended before it printed an address; it said:\n{self.said()}")

    def said(self) -> str:
        return Path(self.log.name).read_text()

    def wait_for_line(self, pattern: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.said(), re.MULTILINE):
            assert time.monotonic() < deadline, f"no line like {pattern!r} in:\n{self.said()}"
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        status = self.process.wait(40)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
        return status

    def command(self, *arguments: str, typed: str = "") -> str:
        """Run another command of the program against this one and return what it prints."""
        done = subprocess.run(
            [*pairloop(), *arguments], env=self.environment, input=typed, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def processes(self) -> dict[int, str]:
        """Living processes that were started for this data directory: id -> command line."""
        found = {}
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                variables = (directory / "environ").read_bytes().split(b"\0")
                command = (directory / "cmdline").read_bytes().decode().replace("\0", " ")
            except OSError:
                continue
            if str(self.data) in command or f"PAIRLOOP_DATA_DIR={self.data}".encode() in variables:
                found[int(directory.name)] = command
        return found

    def wait_until_all_ended(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, f"still running: {left}"
            time.sleep(0.1)


def pairloop() -> list[str]:
    return [sys.executable, "-P", "-m", "app.cli"]


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """The data directory of all tests here: the second one already finds the first one's database."""
    with short_directory() as directory:
        yield directory / "data"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def up(data: Path, port: int) -> Iterator[Up]:
    up = Up(data, port)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.stop()


def test_it_prints_an_address_that_answers_and_ends_completely_and_starts_again(data: Path, port: int) -> None:
    first = Up(data, port)
    said = first.wait_for_address()
    assert httpx.get(f"{first.url}/readyz").json()["status"] == "ready"
    (link,) = re.findall(rf"{re.escape(first.url)}/\S+", said)
    assert httpx.get(link).status_code == 200
    assert len(first.processes()) >= 4  # itself, Postgres, web, two workers, the engine or the step before it
    assert first.stop() == 0
    first.wait_until_all_ended(0)

    begin = time.monotonic()
    second = Up(data, port)
    second.wait_for_address()
    assert time.monotonic() - begin < SECOND_START
    assert httpx.get(f"{second.url}/readyz").status_code == 200
    assert second.stop(signal.SIGINT) == 0
    second.wait_until_all_ended(0)


def test_a_taken_port_gets_a_sentence(data: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        up = Up(data, taken)
        assert up.process.wait(30) == 1
    assert up.process.stdout is not None
    up.process.stdout.close()
    up.log.close()
    said = up.said()
    assert f"cannot listen on port {taken} of 127.0.0.1: Address already in use" in said
    assert f"make run PORT={taken + 1}" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_only_one_may_use_a_data_directory(up: Up, port: int) -> None:
    up.wait_for_address()
    other = Up(up.data, port + 1)
    assert other.process.wait(30) == 1
    assert other.process.stdout is not None
    other.process.stdout.close()
    other.log.close()
    assert f"already runs with the data directory {up.data}: process {up.process.pid}, {up.url}" in other.said()


@pytest.mark.slow
def test_nothing_is_left_when_it_is_killed(data: Path, port: int) -> None:
    killed = Up(data, port)
    killed.wait_for_address()
    assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
    killed.wait_until_all_ended(20)
    again = Up(data, port)
    again.wait_for_address()
    assert httpx.get(f"{again.url}/readyz").status_code == 200
    assert again.stop() == 0


@pytest.mark.slow
def test_a_child_that_dies_comes_back(up: Up) -> None:
    up.wait_for_address()
    (web,) = (pid for pid, command in up.processes().items() if command.rstrip().endswith("app.cli web"))
    os.kill(web, signal.SIGKILL)
    up.wait_for_line(r"web ended \(killed by SIGKILL\); starting it again in 1 s\.")
    deadline = time.monotonic() + 30
    while True:
        try:
            assert httpx.get(f"{up.url}/healthz").status_code == 200
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.slow
def test_postgres_comes_back(up: Up) -> None:
    up.wait_for_address()
    pid = int((up.data / "postgres/cluster/postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    up.wait_for_line("Postgres ended; starting it again")
    deadline = time.monotonic() + 30
    while httpx.get(f"{up.url}/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.slow
def test_the_commands_reach_the_one_that_runs(up: Up, tmp_path: Path) -> None:
    up.wait_for_address()
    person = ["--email", "alice@example.org"]
    assert up.command("create-user", *person, "--roles", "annotator,admin,operator", typed="a long password\n")
    up.environment["PAIRLOOP_TOKEN"] = up.command("create-token", *person, "--name", "tests").strip()
    there = ["--url", up.url, "--project", "first-project"]

    file = tmp_path / "pairs.jsonl"
    pair = {"prompt": "Say hello.", "chosen": "Hello!", "rejected": "No."}
    file.write_text(json.dumps(pair) + "\n{half a line\n" + json.dumps({**pair, "prompt": "Say goodbye."}) + "\n")
    taken = json.loads(up.command("import", str(file), *there, "--what", "comparisons"))
    assert (taken["added"], taken["duplicates"], [bad["line"] for bad in taken["rejected"]]) == (2, 0, [2])

    rows = [json.loads(line) for line in up.command("export", *there, "--format", "jsonl").splitlines()]
    assert sorted(row["prompt"][0]["content"] for row in rows) == ["Say goodbye.", "Say hello."]
    assert [row["chosen"][0]["content"] for row in rows] == ["Hello!", "Hello!"]

    started = json.loads(up.command("run", *there, "--kind", "sample", "--params", '{"comparisons": 1}'))
    assert (started["kind"], started["status"]) == ("sample", "queued")

    assert up.stop() == 0
    again = Up(up.data, int(up.url.rpartition(":")[2]))
    assert "account" not in again.wait_for_address()  # there is a first person now
    again.stop()


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait(up: Up) -> None:
    up.wait_for_address()
    up.process.send_signal(signal.SIGINT)
    up.wait_for_line("Ctrl-C again ends everything at once")
    begin = time.monotonic()
    assert up.stop(signal.SIGINT) == 0
    assert time.monotonic() - begin < 5
    up.wait_until_all_ended(1)
