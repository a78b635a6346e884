"""A training child: what it is given is checked, what it says is JSON, and however it is ended it can go on."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.runs.hyper import RewardHyper
from tests.workers import training
from tests.workers.child import Child, reached
from workers import artifacts
from workers.context import IterationSpec, RecordingContext
from workers.iteration import STOPPED, run_iteration

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
        ({"kind": "sft"}, "kind must be one of reward, ppo, dpo, evaluate; it is 'sft'"),
        ({"seed": -1}, "seed must be a whole number of at least 0; it is -1"),
        ({"seed": True}, "seed must be a whole number"),
        ({"work": ""}, "work must be text; it is ''"),
        ({"surplus": 1}, "must have exactly the fields of IterationSpec; check surplus"),
        ({"snapshot": None}, "A run of kind reward needs snapshot"),
        ({"snapshot": {"url": "x"}}, "snapshot must be null or have sha256, url, each text"),
        ({"kind": "ppo", "hyper": {}}, "A run of kind ppo needs prompts"),
        ({"kind": "ppo", "hyper": {}, "prompts": SOURCE}, "A run of kind ppo needs parents.reward"),
        ({"kind": "dpo", "hyper": {}, "snapshot": None}, "A run of kind dpo needs snapshot"),
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


Kill = tuple[signal.Signals, str, int]
"""How a child is ended, and the first report after which it is."""
GRACEFUL, HARD = signal.SIGTERM, signal.SIGKILL


@pytest.mark.parametrize(
    ("kind", "hyper", "kills"),
    [
        (
            "reward",
            {"batch_answers": 8, "save_every": 1},
            [(HARD, "read", 80), (HARD, "adapters", 2), (HARD, "adapters", 5), (HARD, "reference", 32)],
        ),
        ("ppo", {"updates": 8}, [(HARD, "judge", 0), (GRACEFUL, "ppo", 1), (HARD, "ppo", 4), (HARD, "ppo", 7)]),
        ("ppo", {"updates": 5, "advantage": "rloo"}, [(HARD, "ppo", 1), (GRACEFUL, "ppo", 2), (HARD, "ppo", 4)]),
        ("dpo", {}, [(HARD, "read", 80), (HARD, "dpo", 2), (GRACEFUL, "dpo", 6), (HARD, "dpo", 12)]),
    ],
    ids=["reward", "ppo", "rloo", "dpo"],
)
def test_a_run_that_was_stopped_and_killed_ends_with_the_same_checkpoint(
    likes_vowels: dict[str, Any], tmp_path: Path, kind: str, hyper: dict[str, Any], kills: list[Kill]
) -> None:
    given = {**likes_vowels, "hyper": hyper}
    unbroken = run_iteration(training.spec(tmp_path / "unbroken", kind, **given), RecordingContext())
    spec = training.spec(tmp_path / "broken", kind, **given)
    reached_before = 0
    for how, phase, step in kills:
        child = Child(spec, tmp_path)
        assert child.end(how, reached(phase, step)) == (STOPPED if how == GRACEFUL else -how)
        if reached_before:
            # It went on: a killed run may have saved the step it was killed in, or not.
            assert child.steps(kind if kind != "reward" else "adapters")[0] >= reached_before
        reached_before = step if phase in ("ppo", "dpo", "adapters") else reached_before
    last = Child(spec, tmp_path)
    assert last.end() == 0
    assert last.checkpoint()["sha256"] == unbroken["checkpoint"]["sha256"]
    assert last.lines[-1] == {"type": "result", "result": {**unbroken, "checkpoint": last.checkpoint()}}
    reported = next(line for line in last.lines if line["type"] == "metrics")
    assert set(reported) == {"type", "phase", "step", "total", "metrics", "text", "at", "resources"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_at_any_moment_ends_with_the_same_checkpoint(
    likes_vowels: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    unbroken = run_iteration(training.spec(tmp_path / "unbroken", "ppo", **likes_vowels), RecordingContext())
    spec = training.spec(tmp_path / "broken", "ppo", **likes_vowels)
    moment, killed = random.Random(seed), 0
    for _ in range(4):
        child = Child(spec, tmp_path)
        line = moment.randrange(1, 7)

        def after_a_while(said: dict[str, Any], line: int = line) -> bool:
            if said.get("step") != line:
                return False
            time.sleep(moment.random() * 0.3)
            return True

        killed += child.end(signal.SIGKILL, after_a_while) != 0
    assert killed
    last = Child(spec, tmp_path)
    assert last.end() == 0
    assert last.checkpoint()["sha256"] == unbroken["checkpoint"]["sha256"]


def test_an_error_is_said_in_a_sentence(tmp_path: Path) -> None:
    address = (tmp_path / "spec.json").as_uri()
    artifacts.write_file(address, json.dumps({**GIVEN, "kind": "sft"}).encode())
    command = [sys.executable, "-m", "workers.iteration", address]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert found.returncode == 1
    message = "kind must be one of reward, ppo, dpo, evaluate; it is 'sft'."
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
