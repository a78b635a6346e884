"""A training child is listened to, stopped when asked, and its end is explained; the children here are real ones."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workers.launch import Ending, Stop, run_child

SAY = "import json, sys, time, os, signal\ndef say(**line): print(json.dumps(line), flush=True)\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "7.log"


def run(log: Path, code: str, stop: Callable[[], Stop | None] = lambda: None) -> tuple[Ending, list[dict[str, Any]]]:
    """Run the code as a child; return how it ended and what it said."""
    said: list[dict[str, Any]] = []
    return run_child([sys.executable, "-c", SAY + code], log, said.extend, stop), said


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_metrics_samples_and_the_result_are_handed_on_and_all_else_is_logged(log: Path) -> None:
    ending, said = run(
        log,
        "say(type='metrics', phase='ppo', step=1, total=2, metrics={'reward': 0.5}, text='')\n"
        "print('a library prints'); print('[1, 2]'); print('trouble', file=sys.stderr)\n"
        "say(type='samples', items=[{'prompt': 'p', 'before': 'b', 'after': 'a'}])\n"
        "say(type='result', result={'metrics': {'kl': 1.5}})",
    )
    assert ending == Ending(result={"metrics": {"kl": 1.5}})
    assert [line["type"] for line in said] == ["metrics", "samples"]
    assert sorted(log.read_text().split("\n")) == ["", "[1, 2]", "a library prints", "trouble"]


def test_an_error_in_words_is_kept(log: Path) -> None:
    assert run(log, "say(type='error', message='Label more.'); sys.exit(1)")[0] == Ending(error="Label more.")


def test_a_silent_end_gets_a_sentence(log: Path) -> None:
    ending, _ = run(log, "sys.exit(3)")
    assert ending.error is not None
    assert "status 3" in ending.error
    assert run(log, "pass")[0].error is not None, "an end without a result is no success"


def test_a_kill_by_the_system_is_told_from_an_error(log: Path) -> None:
    assert run(log, "os.kill(os.getpid(), signal.SIGKILL)")[0] == Ending(killed_by=signal.SIGKILL)


def test_it_stops_in_order_when_the_child_obeys(log: Path) -> None:
    stop = Stop("shutdown", 30.0)
    before = time.monotonic()
    ending, said = run(
        log,
        "signal.signal(signal.SIGTERM, lambda *_: (say(type='metrics', phase='saved'), sys.exit(75)))\n"
        "say(type='metrics', phase='ready'); time.sleep(60)",
        once_ready(stop),
    )
    assert ending == Ending(stop=stop)
    assert [line["phase"] for line in said] == ["ready", "saved"]
    assert time.monotonic() - before < 10


def once_ready(stop: Stop) -> Callable[[], Stop | None]:
    """Ask for the stop after the child had a moment to begin."""
    begun = time.monotonic()
    return lambda: stop if time.monotonic() - begun > 1 else None


def test_a_child_that_does_not_obey_is_killed_with_everything_it_started(log: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    stop = Stop("cancel", 0.5)
    before = time.monotonic()
    ending, _ = run(
        log,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(signal.SIGTERM, "
        "signal.SIG_IGN); time.sleep(60)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)",
        once_ready(stop),
    )
    assert ending == Ending(stop=stop)
    assert time.monotonic() - before < 5
    wait_until(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))


def test_the_child_dies_when_what_it_says_cannot_be_kept(log: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def broken(lines: list[dict[str, Any]]) -> None:
        raise ConnectionError("the database is away")

    code = SAY + f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))\nsay(type='metrics', phase='x')\ntime.sleep(60)"
    with pytest.raises(ConnectionError):
        run_child([sys.executable, "-c", code], log, broken, lambda: None)
    assert not is_alive(int(pid_file.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    child = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = (
        "import sys, pathlib; from workers.launch import run_child\n"
        f"run_child([sys.executable, '-c', {child!r}], pathlib.Path({str(tmp_path / 'log')!r}), print, lambda: None)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], cwd=Path(__file__).parents[2]) as process:
        wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
        process.kill()
    wait_until(lambda: not is_alive(int(pid_file.read_text())))


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_the_child_sees_no_secret(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRLOOP_DATABASE_URL", "postgresql+psycopg://x")
    assert "PAIRLOOP_DATABASE_URL" in os.environ
    ending, _ = run(log, "say(type='result', result={'names': [n for n in os.environ if n.startswith('PAIRLOOP_D')]})")
    assert ending.result == {"names": ["PAIRLOOP_DATA_DIR"]}
