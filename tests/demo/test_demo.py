"""The whole demo on the tiny model: a Pairloop of its own, labels, training, promotion, the page."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.directories import short_directory

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data() -> Iterator[Path]:
    """The demo's data directory."""
    with short_directory() as directory:
        yield directory / "data"


@pytest.mark.slow
def test_the_demo_goes_from_labels_to_a_page_and_leaves_a_project(data: Path) -> None:
    # The tests' own Postgres is not the demo's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAIRLOOP_")}
    command = [sys.executable, "-m", "demo", "--data", str(data), "--base-model", "tiny", "--rule", "length"]
    options = ["--answers", "40", "--answers-per-prompt", "2", "--max-tokens", "24", "--rounds", "2", "--force"]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(data / "demo.html"), "standard output carries the result alone"
    findings = json.loads((data / "demo.json").read_text())
    assert findings["labels"]["answers"] == 80
    assert [one["answers"] for one in findings["rounds"]] == [40, 40]
    assert findings["labels"]["ceiling"] == pytest.approx(0.9)
    assert set(findings["runs"]) == {"reward", "ppo", "evaluate", "sample"}
    assert len(findings["runs"]["ppo"]["metrics"]) >= 4
    assert 0 <= findings["win"]["wilson_low"] <= findings["win"]["rate"] <= findings["win"]["wilson_high"] <= 1
    assert findings["win"]["pairings"] == findings["win"]["prompts"] * 2 * 2
    page = (data / "demo.html").read_text()
    assert page.count("<svg") >= 4
    assert (data / "demo-accounts.json").stat().st_mode & 0o077 == 0, "only the owner reads the password"
    assert not (data / "up.lock").read_text(), "nothing is left running"
