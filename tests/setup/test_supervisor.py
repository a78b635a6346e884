"""The log of several children is readable, and a step, a service and their ends are told apart."""

import io
import os
import re
import signal
import sys
import time
from collections.abc import Callable

import pytest

from app import supervisor
from app.supervisor import Child, Log, Supervisor


def log_of(*written: bytes) -> list[str]:
    """The lines that the log makes of what a child writes, piece by piece."""
    stream = io.StringIO()
    reading, writing = os.pipe()
    for piece in written:
        os.write(writing, piece)
    os.close(writing)
    with open(reading, "rb") as pipe:
        Log(stream).copy("child", pipe)
    return stream.getvalue().splitlines()


def test_every_line_bears_its_writers_name() -> None:
    assert log_of(b"one\ntwo\r\n\nthr", b"ee") == ["child       | one", "child       | two", "child       | three"]


def test_bytes_that_are_no_text_do_not_end_the_log() -> None:
    assert log_of(b"\xff\nnext\n") == ["child       | \ufffd", "child       | next"]


def test_a_progress_bar_becomes_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = b"".join(b"\r%d of 3" % step for step in range(1, 4)) + b"\ndone\n"
    assert log_of(bar) == ["child       | 3 of 3", "child       | done"]
    monkeypatch.setattr(supervisor, "BAR_EVERY", -1.0)
    assert log_of(bar) == [f"child       | {text}" for text in ("1 of 3", "2 of 3", "3 of 3", "done")]


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    Log(stream).line("web", "up")
    assert re.fullmatch(r"\033\[\d+mweb +\|\033\[0m up\n", stream.getvalue())
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Log(plain).line("web", "up")
    assert plain.getvalue() == "web         | up\n"


def looked_after(child: Child, until: Callable[[], bool]) -> str:
    """What the log says of a child that is looked after until something holds."""
    stream = io.StringIO()
    looking = Supervisor(Log(stream), dict(os.environ))
    looking.add(child)
    deadline = time.monotonic() + 20
    while not until():
        assert time.monotonic() < deadline, stream.getvalue()
        looking.look_after()
        time.sleep(0.01)
    looking.stop(lambda: True)
    return stream.getvalue()


def test_a_step_that_succeeds_is_followed_by_the_next_thing() -> None:
    ended: list[str] = []
    step = Child("step", [sys.executable, "-c", ""], when_done=lambda: ended.append("step"))
    assert looked_after(step, lambda: bool(ended)) == ""
    assert ended == ["step"]


def test_a_step_that_fails_is_tried_again() -> None:
    step = Child("step", [sys.executable, "-c", "raise SystemExit(3)"], when_done=lambda: pytest.fail("it failed"))
    said = looked_after(step, lambda: step.failures == 2)
    assert "step ended (exit status 3); starting it again in 1 s." in said
    assert "step ended (exit status 3); starting it again in 2 s." in said


def test_a_service_is_started_again_even_after_an_orderly_end() -> None:
    service = Child("service", [sys.executable, "-c", ""])
    assert "service ended (exit status 0); starting it again in 1 s." in looked_after(
        service, lambda: service.failures == 1
    )


def test_a_child_that_ignores_the_request_to_end_is_killed() -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    stream = io.StringIO()
    looking = Supervisor(Log(stream), dict(os.environ))
    process = looking.add(Child("stubborn", [sys.executable, "-c", stubborn])).process
    assert process is not None
    deadline = time.monotonic() + 20
    while "ready" not in stream.getvalue():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    begin = time.monotonic()
    looking.stop(lambda: time.monotonic() - begin > 0.2)
    assert process.poll() == -signal.SIGKILL
