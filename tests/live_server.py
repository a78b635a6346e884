"""The web application on a port of its own, and what its live pages send."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from app.main import create_app


@contextmanager
def serving() -> Iterator[str]:
    """The address of the web application while it runs, with its LISTEN connection."""
    web = uvicorn.Server(uvicorn.Config(create_app(), port=0, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=web.run, daemon=True)
    thread.start()
    while not web.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{web.servers[0].sockets[0].getsockname()[1]}"
    web.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@contextmanager
def stream(url: str, headers: dict[str, str]) -> Iterator[Iterator[tuple[str, str]]]:
    """The events of a live page, as (name, data)."""

    def events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
        name, data = "", list[str]()
        for line in lines:
            if line.startswith("event:"):
                name = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                data.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and name:
                yield name, "\n".join(data)
                name, data = "", []

    with httpx.Client(timeout=20) as client, client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer.iter_lines())


class Server:
    """The web application on one port, in a process that can be killed and started again."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        # The settings of this test's database are in the environment, which the process inherits.
        command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(self.port), "--log-level", "critical"]
        return subprocess.Popen(command, env=dict(os.environ))

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
