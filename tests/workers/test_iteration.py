"""A training child: what it is given is checked, what it says is JSON, and however it is ended it can go on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.runs.hyper import RewardHyper
from tests.workers import training
from workers import artifacts
from workers.iteration import STOPPED, IterationSpec, RecordingContext, run_iteration
from workers.language.model import LanguageModel

SOURCE = {"url": "file:///snapshot", "sha256": "0" * 64}
GIVEN: dict[str, Any] = {
    "run": "17",
    "kind": "reward",
    "base_model": "tiny",
    "seed": 1,
    "snapshot": SOURCE,
    "prompts": None,
    "parents": {"reward": None, "policy": None},
    "candidate": None,
    "hyper": {"folds": 3},
    "work": "file:///work/",
    "output": "file:///output/",
}


def test_a_spec_survives_json() -> None:
    spec = IterationSpec.from_json(json.dumps(GIVEN))
    assert spec.hyper == RewardHyper.from_json({"folds": 3}, "tiny")
    assert IterationSpec.from_json(json.dumps(spec.to_json())) == spec
    assert spec.fingerprint() == IterationSpec.from_json(json.dumps(spec.to_json())).fingerprint()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "dpo"}, "kind must be one of reward, ppo, evaluate; it is 'dpo'"),
        ({"seed": -1}, "seed must be a whole number of at least 0; it is -1"),
        ({"seed": True}, "seed must be a whole number"),
        ({"work": ""}, "work must be text; it is ''"),
        ({"surplus": 1}, "must have exactly the fields of IterationSpec; check surplus"),
        ({"snapshot": None}, "A run of kind reward needs snapshot"),
        ({"snapshot": {"url": "x"}}, "snapshot must be null or have sha256, url, each text"),
        ({"kind": "ppo", "hyper": {}}, "A run of kind ppo needs prompts"),
        ({"kind": "ppo", "hyper": {}, "prompts": SOURCE}, "A run of kind ppo needs parents.reward"),
        ({"parents": {"value": None}}, "parents may hold reward and policy, not value"),
        ({"parents": []}, "parents must be a JSON object"),
        ({"hyper": {"folds": 1}}, "folds must lie between 2 and 20; it is 1"),
        ({"hyper": {"fold": 3}}, "There is no setting 'fold'"),
    ],
)
def test_a_spec_that_does_not_fit_gets_a_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        IterationSpec.from_json(json.dumps({**GIVEN, **change}))


def test_a_missing_field_and_text_that_is_no_json_get_a_sentence() -> None:
    with pytest.raises(ValueError, match="check seed"):
        IterationSpec.from_json(json.dumps({name: value for name, value in GIVEN.items() if name != "seed"}))
    with pytest.raises(ValueError, match="is not JSON"):
        IterationSpec.from_json("{")


class Child:
    """A training child and what it has said so far."""

    def __init__(self, spec: IterationSpec, home: Path) -> None:
        address = (home / "spec.json").as_uri()
        artifacts.write_file(address, json.dumps(spec.to_json()).encode())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workers.iteration", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
        )
        self.lines: list[dict[str, Any]] = []

    def end(self, how: signal.Signals | None = None, when: Callable[[dict[str, Any]], bool] = bool) -> int:
        """Read to the end and return the exit status; send the signal `how` at the first line that `when` picks."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with self.process.stdout, self.process.stderr:
            for line in self.process.stdout:
                self.lines.append(json.loads(line))
                if how is not None and when(self.lines[-1]):
                    self.process.send_signal(how)
                    how = None
            self.process.stderr.read()
        return self.process.wait()

    def checkpoint(self) -> dict[str, str]:
        """What the result names."""
        found: dict[str, str] = self.lines[-1]["result"]["checkpoint"]
        return found


def reached(phase: str, step: int) -> Callable[[dict[str, Any]], bool]:
    return lambda line: (line.get("phase"), line.get("step")) == (phase, step)


def steps(child: Child, phase: str) -> list[int]:
    return [line["step"] for line in child.lines if line.get("phase") == phase]


def test_a_ppo_run_that_was_stopped_and_killed_ends_with_the_same_checkpoint(
    likes_vowels: dict[str, Any], tmp_path: Path
) -> None:
    given = {**likes_vowels, "hyper": {"updates": 8}}
    unbroken = run_iteration(training.spec(tmp_path / "unbroken", "ppo", **given), RecordingContext())
    spec = training.spec(tmp_path / "broken", "ppo", **given)
    stopped = Child(spec, tmp_path)
    assert stopped.end(signal.SIGTERM, reached("ppo", 1)) == STOPPED
    killed = Child(spec, tmp_path)
    assert killed.end(signal.SIGKILL, reached("ppo", 4)) == -signal.SIGKILL
    context = RecordingContext()
    last = run_iteration(spec, context)
    assert steps(killed, "ppo")[0] == steps(stopped, "ppo")[-1] + 1
    # A killed run may have saved the update it was killed in, or not.
    assert context.reports[0][1] > steps(killed, "ppo")[0]
    assert last["checkpoint"]["sha256"] == unbroken["checkpoint"]["sha256"]


def test_a_reward_run_that_was_killed_ends_with_the_same_checkpoint(shared_tiny: LanguageModel, tmp_path: Path) -> None:
    files = {"snapshot": training.snapshot(tmp_path, shared_tiny, 80), "prompts": training.prompts(tmp_path)}
    hyper = {"batch_answers": 8, "save_every": 1}
    unbroken = run_iteration(training.spec(tmp_path / "unbroken", "reward", **files, hyper=hyper), RecordingContext())
    spec = training.spec(tmp_path / "broken", "reward", **files, hyper=hyper)
    killed = Child(spec, tmp_path)
    assert killed.end(signal.SIGKILL, reached("adapters", 3)) == -signal.SIGKILL
    last = Child(spec, tmp_path)
    assert last.end() == 0
    assert steps(last, "adapters")[0] > 1
    assert last.lines[-1] == {"type": "result", "result": {**unbroken, "checkpoint": last.checkpoint()}}
    assert last.checkpoint()["sha256"] == unbroken["checkpoint"]["sha256"]
    reported = next(line for line in last.lines if line["type"] == "metrics")
    assert set(reported) == {"type", "phase", "step", "total", "metrics", "text", "at"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_at_any_moment_ends_with_the_same_checkpoint(
    likes_vowels: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    unbroken = run_iteration(training.spec(tmp_path / "unbroken", "ppo", **likes_vowels), RecordingContext())
    spec = training.spec(tmp_path / "broken", "ppo", **likes_vowels)
    moment = random.Random(seed)
    for _ in range(4):
        child = Child(spec, tmp_path)
        line = moment.randrange(1, 7)

        def after_a_while(said: dict[str, Any], line: int = line) -> bool:
            if said.get("step") != line:
                return False
            time.sleep(moment.random() * 0.3)
            return True

        child.end(signal.SIGKILL, after_a_while)
    last = Child(spec, tmp_path)
    assert last.end() == 0
    assert last.checkpoint()["sha256"] == unbroken["checkpoint"]["sha256"]


def test_an_error_is_said_in_a_sentence(tmp_path: Path) -> None:
    address = (tmp_path / "spec.json").as_uri()
    artifacts.write_file(address, json.dumps({**GIVEN, "kind": "dpo"}).encode())
    command = [sys.executable, "-m", "workers.iteration", address]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert found.returncode == 1
    message = "kind must be one of reward, ppo, evaluate; it is 'dpo'."
    assert json.loads(found.stdout) == {"type": "error", "message": message}
    assert "Traceback" in found.stderr


PARENT = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-m", "workers.iteration", sys.argv[1]]).pid, flush=True)
time.sleep(60)
"""


def test_a_child_ends_when_its_parent_is_killed(likes_vowels: dict[str, Any], tmp_path: Path) -> None:
    address = (tmp_path / "spec.json").as_uri()
    spec = training.spec(tmp_path, "ppo", **likes_vowels, hyper={"updates": 10_000})
    artifacts.write_file(address, json.dumps(spec.to_json()).encode())
    command = [sys.executable, "-c", PARENT, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert json.loads(parent.stdout.readline())["phase"] == "judge"
        parent.kill()
        deadline = time.monotonic() + 10
        while alive(child) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not alive(child)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
