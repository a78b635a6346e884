"""A training child: started in a session of its own, listened to, stopped when asked, its end explained."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import child_processes

TICK = 0.2  # s between two looks at whether to stop
LINGER = 1.0  # s for the last lines of a child that has ended
KEPT_FROM_IT = ("PAIRLOOP_DATABASE_URL", "PAIRLOOP_SECRET_KEY")  # a child needs no secret
STOPPED = 75  # exit status of a child that was asked to stop and saved its state


@dataclass(frozen=True)
class Stop:
    """The child shall end; it is killed when it has not done so after `grace` seconds."""

    why: str
    grace: float


@dataclass(frozen=True)
class Ending:
    """How a child ended: with a result, with an error in words, because of `stop`, or killed by somebody else."""

    result: dict[str, Any] | None = None
    error: str | None = None
    stop: Stop | None = None
    killed_by: signal.Signals | None = None


def training_command(spec_url: str) -> list[str]:
    """The command of a training child for a spec."""
    return [sys.executable, "-m", "workers.iteration", spec_url]


def run_child(
    command: Sequence[str],
    log: Path,
    on_lines: Callable[[list[dict[str, Any]]], None],
    asked_to_stop: Callable[[], Stop | None],
) -> Ending:
    """Start a child, hand on what it says, stop it when asked, and say how it ended.

    `on_lines` gets the JSON objects of standard output as they come; standard error and whatever is no JSON go to
    `log`. The child dies with this process, and also when this function raises.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as log_file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_file,
            env={name: value for name, value in os.environ.items() if name not in KEPT_FROM_IT},
            start_new_session=True,
            preexec_fn=child_processes.end_with_parent(signal.SIGKILL),
        )
        said: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=_read, args=(process, said), daemon=True).start()
        try:
            return _listen(process, said, log_file.write, on_lines, asked_to_stop)
        finally:
            if process.poll() is None:
                _signal(process, signal.SIGKILL)
                process.wait()


def _read(process: subprocess.Popen[bytes], said: "queue.Queue[bytes | None]") -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            said.put(line)
    said.put(None)


def _listen(
    process: subprocess.Popen[bytes],
    said: "queue.Queue[bytes | None]",
    write_log: Callable[[bytes], Any],
    on_lines: Callable[[list[dict[str, Any]]], None],
    asked_to_stop: Callable[[], Stop | None],
) -> Ending:
    result: dict[str, Any] | None = None
    error: str | None = None
    stop: Stop | None = None
    silent = False
    deadline = float("inf")
    while time.monotonic() < deadline and not (silent and process.poll() is not None):
        lines, closed = _next_lines(said, write_log)
        silent = silent or closed
        result = next((line["result"] for line in lines if line["type"] == "result"), result)
        error = next((line["message"] for line in lines if line["type"] == "error"), error)
        if news := [line for line in lines if line["type"] in ("metrics", "samples")]:
            on_lines(news)
        if stop is None and (stop := asked_to_stop()) is not None:
            _signal(process, signal.SIGTERM)
            deadline = time.monotonic() + stop.grace
        if process.poll() is not None:
            # A grandchild may hold the pipe open; what the child itself said is there by then.
            deadline = min(deadline, time.monotonic() + LINGER)
    if process.poll() is None:
        _signal(process, signal.SIGKILL)
    return _explain(process.wait(), result, error, stop)


def _explain(status: int, result: dict[str, Any] | None, error: str | None, stop: Stop | None) -> Ending:
    if status == 0 and result is not None:
        return Ending(result=result, stop=stop)
    if stop is not None:
        return Ending(stop=stop)
    if status < 0:
        return Ending(killed_by=signal.Signals(-status))
    no_reason = f"The training process ended with status {status} and gave no reason. The end of its log is below."
    return Ending(error=error or no_reason)


def _next_lines(
    said: "queue.Queue[bytes | None]", write_log: Callable[[bytes], Any]
) -> tuple[list[dict[str, Any]], bool]:
    """What was said since the last look (waiting a moment for it), and whether the child closed its output."""
    lines: list[dict[str, Any]] = []
    wait = TICK
    while True:
        try:
            line = said.get(timeout=wait) if wait else said.get_nowait()
        except queue.Empty:
            return lines, False
        if line is None:
            return lines, True
        wait = 0.0
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict) and "type" in found:
            lines.append(found)
        else:
            write_log(line)


def _signal(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Signal the child with everything it started; they share its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
