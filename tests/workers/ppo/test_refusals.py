"""PPO does not start from a reward model whose scores mean nothing to it."""

from pathlib import Path
from typing import Any

import pytest

from tests.workers import training
from workers import artifacts
from workers.context import RecordingContext
from workers.iteration import run_iteration


def test_ppo_needs_the_zero_and_the_unit_of_the_reward(likes_vowels: dict[str, Any], tmp_path: Path) -> None:
    reward = likes_vowels["parents"]["reward"]
    files = artifacts.read(reward["url"], reward["sha256"])
    del files["reward_stats.json"]
    url = tmp_path.as_uri() + "/reward/"
    without = {"id": "2", "url": url, "sha256": artifacts.write(url, "reward", "tiny", files)}
    given = {**likes_vowels, "parents": {"reward": without, "policy": None}}
    context = RecordingContext()
    with pytest.raises(ValueError, match=r"so its scores have no zero and no unit\. Train it again\."):
        run_iteration(training.spec(tmp_path, "ppo", **given), context)
    assert context.reports == [], "it says so before it draws anything"
