"""The processes of a run on one machine: each knows its place, a signal reaches all, and none outlives the first."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app import child_processes
from tests.workers import training
from tests.workers.test_launch import is_alive, wait_until
from workers import artifacts
from workers.context import IterationSpec
from workers.launch import Ending, Stop, run_child, training_command
from workers.saved_state import newest

ROOT = Path(__file__).parents[2]
# A first process that starts two more with PEER as their program, then does BODY.
FIRST = """
import os, sys, time
from workers import peers
peers.LOOK, peers.GRACE = 0.1, 0.3
def lost():
    print("lost", flush=True)
    os._exit(7)
with peers.started([sys.executable, "-c", sys.argv[1]], 3, lost):
    {body}
print("over", flush=True)
"""
SAYS_ITS_PLACE = """
import os, pathlib, time
names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS", "PAIRLOOP_MEETING"]
place = pathlib.Path(os.environ["PLACES"]) / os.environ["RANK"]
place.with_suffix(".new").write_text(" ".join([str(os.getpid()), *(os.environ[name] for name in names)]))
place.with_suffix(".new").rename(place)
print("a library prints")
time.sleep(60)
"""


def start(places: Path, body: str = "time.sleep(60)", peer: str = SAYS_ITS_PLACE) -> "subprocess.Popen[str]":
    """Start a first process in a session of its own."""
    command = [sys.executable, "-c", FIRST.format(body=body), peer]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    own = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, env={**own, "PLACES": str(places)}, **pipes)


def said(places: Path) -> list[list[str]]:
    """What the two others say of themselves, once both have: their ids, then their places."""
    wait_until(lambda: all((places / str(rank)).exists() for rank in (1, 2)))
    return [(places / str(rank)).read_text().split() for rank in (1, 2)]


def gone(places: Path) -> bool:
    return not any(is_alive(int(pid)) for pid, *_ in said(places))


def test_each_knows_its_place_and_is_gone_when_the_first_is_done(tmp_path: Path) -> None:
    until = f"while len([n for n in os.listdir({str(tmp_path)!r}) if len(n) == 1]) < 2: time.sleep(0.01)"
    with start(tmp_path, until) as first:
        assert first.stdout is not None
        # What the others print is not among what the first one says.
        assert first.stdout.read() == "over\n"
    threads, meeting = str(max(1, (os.cpu_count() or 1) // 3)), said(tmp_path)[0][-1]
    assert [place[1:] for place in said(tmp_path)] == [[rank, rank, "3", "3", threads, meeting] for rank in "12"]
    assert not Path(meeting.removeprefix("file://")).parent.exists()
    assert gone(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_none_outlives_a_first_one_that_is_killed(tmp_path: Path) -> None:
    with start(tmp_path) as first:
        said(tmp_path)
        first.kill()
    wait_until(lambda: gone(tmp_path))


def test_a_signal_to_the_group_reaches_all(tmp_path: Path) -> None:
    # The others sleep on until somebody signals them: held back at first, a stop is let in when they are ready.
    peer = SAYS_ITS_PLACE.replace(
        "time.sleep(60)",
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: place.with_suffix('.told').touch())\n"
        "time.sleep(0.3); signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM}); time.sleep(60)",
    )
    body = "import signal; signal.signal(signal.SIGTERM, lambda *_: None); time.sleep(60)"
    with start(tmp_path, body, peer) as first:
        said(tmp_path)
        os.killpg(first.pid, signal.SIGTERM)
        wait_until(lambda: all((tmp_path / f"{rank}.told").exists() for rank in (1, 2)))
        first.kill()


@pytest.mark.parametrize(("status", "expected"), [(3, "lost\n"), (0, "over\n"), (75, "over\n")])
def test_one_that_fails_is_missed_even_where_nobody_waits_for_it(tmp_path: Path, status: int, expected: str) -> None:
    peer = f"import os, sys; sys.exit({status} if os.environ['RANK'] == '2' else 0)"
    with start(tmp_path, "time.sleep(1)", peer) as first:
        assert first.stdout is not None
        assert first.stdout.read() == expected


@pytest.fixture
def spec(likes_vowels: dict[str, Any], tmp_path: Path) -> IterationSpec:
    spec = training.spec(tmp_path, "ppo", **likes_vowels, hyper={"updates": 300, "heldout_answers": 4})
    artifacts.write_file((tmp_path / "spec.json").as_uri(), json.dumps(spec.to_json()).encode())
    return spec


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc says who started whom")
def test_a_worker_trains_with_as_many_processes_as_it_is_set_to(
    spec: IterationSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRLOOP_TRAINING_PROCESSES", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stop, address = Stop("shutdown", 60.0), (tmp_path / "spec.json").as_uri()
    lines: list[dict[str, Any]] = []
    others: set[int] = set()

    def after_two_updates() -> Stop | None:
        started = [pid for child in children(os.getpid()) for pid in children(child)]
        others.update(pid for pid in started if child_processes.runs_with_argument(pid, address))
        return stop if [line["step"] for line in lines if line["type"] == "metrics"][2:] else None

    log, begun = tmp_path / "log", time.monotonic()
    assert run_child(training_command(address), log, lines.extend, after_two_updates) == Ending(stop=stop)
    assert time.monotonic() - begun < 60, "they were killed instead"
    assert len(others) == 1
    assert not any(is_alive(pid) for pid in others)
    assert log.read_text() == ""
    state = newest(spec)
    assert state is not None
    steps = [line["step"] for line in lines if line["type"] == "metrics"]
    assert state.facts["progress"]["update"] == steps[-1]


def children(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(one) for thread in threads for one in (thread / "children").read_text().split()]
    except OSError:
        return []


@pytest.mark.slow
def test_torchrun_starts_them_too(likes_vowels: dict[str, Any], tmp_path: Path) -> None:
    spec = training.spec(tmp_path, "ppo", **likes_vowels, hyper={"updates": 2})
    address = (tmp_path / "spec.json").as_uri()
    artifacts.write_file(address, json.dumps(spec.to_json()).encode())
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "workers.iteration", address]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert [line["step"] for line in lines if line.get("phase") == "ppo"] == [1, 2]
    assert lines[-1]["type"] == "result"
