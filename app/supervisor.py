"""Looks after the processes of `pairloop up`: starts them, joins their logs, starts them again, ends them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TextIO

from app import child_processes

LONGEST_PAUSE = 60.0  # s between two attempts to start a child that keeps ending
STEADY_AFTER = 60.0  # s of life after which an end counts as the first one again
TIME_TO_END = 15.0  # s between the request to end and the kill; a worker gives its jobs 10 s of them
BAR_EVERY = 2.0  # s between two lines that show a progress bar
COLOURS = ("36", "33", "35", "32", "34", "31")  # of the names, on a terminal


class Log:
    """One stream for all children: whole lines, each after the name of who wrote it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._coloured = stream.isatty() and "NO_COLOR" not in os.environ

    def line(self, name: str, text: str) -> None:
        """Write one line; a stream that nobody reads any more is no reason to end."""
        with self._lock, contextlib.suppress(OSError):
            if name not in self._names:
                self._names.append(name)
            prefix = f"{name:<12}|"
            if self._coloured:
                prefix = f"\033[{COLOURS[self._names.index(name) % len(COLOURS)]}m{prefix}\033[0m"
            self._stream.write(f"{prefix} {text}\n")
            self._stream.flush()

    def copy(self, name: str, stream: IO[bytes]) -> None:
        """Write each line of `stream` until it ends, and close it; of a progress bar only a state now and then."""
        shown = time.monotonic()
        with stream:
            for text, drawn_over in _written(stream):
                if text.strip() and (not drawn_over or time.monotonic() - shown > BAR_EVERY):
                    shown = time.monotonic()
                    self.line(name, text.rstrip())


def _written(stream: IO[bytes]) -> Iterator[tuple[str, bool]]:
    """What was written to a pipe, cut at line feeds and carriage returns; True after the latter."""
    rest = b""
    while block := os.read(stream.fileno(), 65536):
        *lines, rest = re.split(rb"(\r?\n|\r(?!\n|$))", rest + block)
        for text, end in zip(lines[::2], lines[1::2], strict=True):
            yield text.decode(errors="replace"), end == b"\r"
    yield rest.decode(errors="replace"), False


@dataclass(eq=False)
class Child:
    """A process to look after: a service that should never end, or a step that runs `when_done` after it succeeded."""

    name: str
    command: Sequence[str]
    when_done: Callable[[], None] | None = None
    process: subprocess.Popen[bytes] | None = None
    done: bool = False
    failures: int = 0  # in a row
    started: float = 0.0  # time.monotonic()
    start_again: float = 0.0  # time.monotonic()

    def start(self, log: Log, environment: Mapping[str, str]) -> None:
        """Start the process in a session of its own, so that the terminal's Ctrl-C reaches only its parent."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=child_processes.end_with_parent(signal.SIGTERM),
        )
        assert self.process.stdout is not None
        threading.Thread(target=log.copy, args=(self.name, self.process.stdout), daemon=True).start()

    def look_after(self, log: Log, environment: Mapping[str, str]) -> None:
        """Start the process when it is due; notice when it ended, and say so."""
        if self.done:
            return
        if self.process is None:
            if time.monotonic() >= self.start_again:
                self.start(log, environment)
            return
        status = self.process.poll()
        if status is None:
            return
        self.clear_up()
        if status == 0 and self.when_done is not None:
            self.done = True
            self.when_done()
            return
        self.failures = 1 if time.monotonic() - self.started > STEADY_AFTER else self.failures + 1
        pause = min(2.0 ** (self.failures - 1), LONGEST_PAUSE)
        self.start_again = time.monotonic() + pause
        log.line("pairloop", f"{self.name} ended ({describe(status)}); starting it again in {pause:.0f} s.")

    def clear_up(self) -> None:
        """End what the process left behind in its session."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.poll() is not None:
            self.process = None


class Supervisor:
    """All children. Use it from the main thread only: Linux ends a child together with the thread that started it."""

    def __init__(self, log: Log, environment: Mapping[str, str]) -> None:
        self._log = log
        self._environment = environment
        self.children: list[Child] = []

    def add(self, child: Child) -> Child:
        """Start another child."""
        self.children.append(child)
        child.start(self._log, self._environment)
        return child

    def look_after(self) -> None:
        """Do what is due now; call this a few times a second."""
        for child in list(self.children):
            child.look_after(self._log, self._environment)

    def stop(self, at_once: Callable[[], bool]) -> None:
        """Ask all children to end, wait, and kill who is left after `TIME_TO_END` or as soon as `at_once()` says so."""
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + TIME_TO_END
        while any(process.poll() is None for process in running):
            if at_once() or time.monotonic() > deadline:
                break
            time.sleep(0.03)
        for child in self.children:
            child.clear_up()
        for process in running:
            process.wait()


def program(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours with this Python, whatever lies in the current directory."""
    return [sys.executable, "-P", "-m", module, *arguments]


def describe(status: int) -> str:
    """Say how a process ended, from its return code."""
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
