"""A running Pairloop for the demo, with an operator and three simulated annotators who hold API tokens."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import httpx

from app.private_files import make_private_directory, write_private

ANNOTATORS = 3
PATIENCE = 300  # s, from the start to a ready page
OPERATOR = "demo@pairloop.example"
FOREIGN = {f"PAIRLOOP_{name}" for name in ("ARTIFACTS_URL", "DATABASE_URL", "ENGINE_URL", "PUBLIC_URL", "SECRET_KEY")}


class DemoError(Exception):
    """The demo cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Accounts:
    """Who takes part: the operator may sign in with e-mail and password, the annotators only hold tokens."""

    token: str
    annotators: list[str]
    email: str = ""
    password: str = ""


@dataclass(frozen=True)
class Stack:
    """A running Pairloop."""

    url: str
    accounts: Accounts


@contextlib.contextmanager
def started(data: Path, base_model: str) -> Iterator[Stack]:
    """Run `pairloop up` on this data directory while the block lasts; its log goes to demo.log there.

    The accounts are made once and kept in a file that only their owner can read, so that the project can be browsed
    afterwards and the demo be run again.
    """
    make_private_directory(data)
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with (data / "demo.log").open("ab") as log:
        command = [_program("pairloop"), "up", "--host", "127.0.0.1", "--port", str(port), "--data", str(data)]
        environment = _environment(data, base_model)
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            _wait_until_ready(url, process, log)
            yield Stack(url, _accounts(data, environment))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def _environment(data: Path, base_model: str) -> dict[str, str]:
    """The demo's own Pairloop shares nothing with another one that these variables may describe."""
    mine = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    return {**mine, "PAIRLOOP_DATA_DIR": str(data), "PAIRLOOP_BASE_MODEL": base_model}


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"Pairloop ended before it was ready. {log.name} says why.")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=10).is_success:
                return
        time.sleep(0.2)
    raise DemoError(f"Pairloop was not ready after {PATIENCE} seconds. {log.name} says what it waits for.")


def _accounts(data: Path, environment: dict[str, str]) -> Accounts:
    """The accounts of an earlier run on this data directory, or new ones."""
    path = data / "demo-accounts.json"
    if path.exists():
        return Accounts(**json.loads(path.read_text()))
    password = secrets.token_urlsafe(12)
    token = _make_user(environment, OPERATOR, "Demo", "annotator,admin,operator", password=password)
    annotators = [
        _make_user(environment, f"simulated-{n}@pairloop.example", f"Simulated {n}", "annotator", kind="simulated")
        for n in range(1, ANNOTATORS + 1)
    ]
    accounts = Accounts(token, annotators, OPERATOR, password)
    write_private(path, json.dumps(asdict(accounts), indent=1))
    return accounts


def _make_user(
    environment: dict[str, str], email: str, name: str, roles: str, kind: str = "person", password: str = ""
) -> str:
    """Make a user through the command line and return a new token of theirs."""
    user = ["create-user", "--email", email, "--name", name, "--roles", roles, "--kind", kind]
    _pairloop(environment, user, f"{password}\n")
    return _pairloop(environment, ["create-token", "--email", email, "--name", "demo"]).strip()


def _pairloop(environment: dict[str, str], arguments: Sequence[str], typed: str = "") -> str:
    command = [_program("pairloop"), *arguments]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise DemoError(f"`pairloop {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout
