"""The whole trainer against a rule that is known and easy to overshoot: eight vowels, no more and no fewer.

What bench/simulation measures on a real model for hours, on `tiny` in seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workers import training
from tests.workers.training import spec
from workers import artifacts, drift
from workers.context import RecordingContext
from workers.iteration import run_iteration
from workers.language.adapters import attach, detach
from workers.language.decode import generate
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.language.tokens import decode, encode_prompt
from workers.reward.report import wilson_clustered

WANTED, LABELS, SLIPS, LONGEST = 8, 300, 10, 16
CEILING = 1 - 1 / SLIPS
FREE = {"kl_coefficient": 0.0, "kl_target": 100.0, "kl_budget": 100.0, "patience": 0, "updates": 12}
TEST = [f"A question of another kind, number {number}" for number in range(100)]


def rule(text: str) -> float:
    """Nearness to eight vowels."""
    return -float(abs(training.liking(text) - WANTED))


class Judged(RecordingContext):
    """Keeps of every look the reward model's mean and the rule's, over the same held-out answers."""

    def __init__(self) -> None:
        super().__init__()
        self.proxy: list[float] = []
        self.gold: list[float] = []
        self.gold_before = 0.0

    def samples(self, items: Sequence[Mapping[str, str]]) -> None:
        """Apply the rule."""
        self.gold_before, gold = (float(np.mean([rule(one[side]) for one in items])) for side in ("before", "after"))
        self.gold.append(gold)

    def report(self, phase: str, step: int, total: int, metrics: Mapping[str, float], text: str = "") -> None:
        """Keep the reward of the same answers."""
        if phase == "ppo" and "reward_heldout" in metrics:
            self.proxy.append(metrics["reward_heldout"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rule")


@pytest.fixture(scope="module")
def shared(home: Path) -> dict[str, Any]:
    return training.prompts(home, 60)


@pytest.fixture(scope="module")
def taught(home: Path, shared_tiny: LanguageModel) -> dict[str, str]:
    """300 answers, every tenth a slip."""
    return training.write(home, training.answered(shared_tiny, LABELS, SLIPS, rule, tie=0))


@pytest.fixture(scope="module")
def reward(home: Path, shared: dict[str, Any], taught: dict[str, str]) -> dict[str, Any]:
    return run_iteration(spec(home, "reward", snapshot=taught, prompts=shared), RecordingContext())


def answers(lm: LanguageModel, adapter: str | None, seed: int) -> list[list[str]]:
    """Two answers to every test prompt."""
    ids = [encode_prompt(lm, [{"role": "user", "content": text}]) for text in TEST]
    drawn = generate(lm, ids, 2, Settings(temperature=1.0, top_p=1.0, max_tokens=16), seed, adapter)
    return [[decode(lm, one.token_ids) for one in several] for several in drawn]


def wins(lm: LanguageModel, result: dict[str, Any]) -> tuple[float, float]:
    """The interval of how often the policy beats the base model by the rule, on prompts that no run has seen."""
    attach(lm, "tried", artifacts.read(result["checkpoint"]["url"], result["checkpoint"]["sha256"]))
    ours, theirs = answers(lm, "tried", 5), answers(lm, None, 4)
    detach(lm, "tried")
    rates = []
    for one, other in zip(ours, theirs, strict=True):
        lead = np.array([rule(text) for text in one])[:, None] - np.array([rule(text) for text in other])
        rates.append(float(((lead > 0) + 0.5 * (lead == 0)).mean()))
    return wilson_clustered(np.array(rates), 2)


def test_the_reward_model_comes_near_the_ceiling_that_slips_allow(reward: dict[str, Any]) -> None:
    found = reward["metrics"]
    assert found["accuracy_low"] > found["length_baseline"]
    assert 0.8 < found["accuracy"] / CEILING <= 1.05


def test_with_the_defaults_the_rule_likes_what_is_kept(
    home: Path, shared: dict[str, Any], reward: dict[str, Any], shared_tiny: LanguageModel
) -> None:
    parents = {"reward": {"id": "1", **reward["checkpoint"]}, "policy": None}
    result = run_iteration(spec(home / "ppo", "ppo", parents=parents, prompts=shared), RecordingContext())
    low, _ = wins(shared_tiny, result)
    assert low > 0.6


def test_without_a_price_on_kl_the_reward_goes_on_rising_and_the_rule_falls(
    home: Path, shared: dict[str, Any], reward: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "SHOWN", 1000)
    parents, context = {"reward": {"id": "1", **reward["checkpoint"]}, "policy": None}, Judged()
    run_iteration(spec(home / "free", "ppo", parents=parents, prompts=shared, hyper=FREE), context)
    gold = context.gold[: len(context.proxy)]
    assert context.proxy == sorted(context.proxy)
    assert max(gold) > context.gold_before + 1
    assert gold[-1] < max(gold) - 1


def test_dpo_learns_the_rule_from_the_same_answers(
    home: Path, shared: dict[str, Any], taught: dict[str, str], shared_tiny: LanguageModel
) -> None:
    result = run_iteration(spec(home / "dpo", "dpo", snapshot=taught, prompts=shared), RecordingContext())
    low, _ = wins(shared_tiny, result)
    assert low > 0.5


@pytest.mark.parametrize("wanted", [training.liking, rule], ids=["no vowel too many", "eight vowels"])
def test_in_three_rounds_of_the_loop_each_policy_is_liked_no_less_than_the_one_before(
    tmp_path: Path, shared: dict[str, Any], shared_tiny: LanguageModel, wanted: Callable[[str], float]
) -> None:
    # Eight vowels are reached in the first round; then there is nothing to gain, and the gates have to see that.
    rows: list[dict[str, Any]] = []
    policy, name, worth = None, None, [liked(answers(shared_tiny, None, 4), wanted)]
    for number in (1, 2, 3):
        place = tmp_path / str(number)
        rows += training.answered(shared_tiny, 200, SLIPS, wanted, 0, 1000 * number, name, LONGEST)
        made = one_round(place, training.write(place, rows), shared, policy)
        if made is not None:
            policy, name = {"id": str(number), **made}, f"round {number}"
            attach(shared_tiny, name, artifacts.read(policy["url"], policy["sha256"]))
        worth.append(liked(answers(shared_tiny, name, 5), wanted))
    shared_tiny.adapters.clear()
    assert worth == sorted(worth)
    assert worth[3] > worth[0] + 2


def one_round(
    home: Path, snapshot: dict[str, str], shared: dict[str, Any], policy: dict[str, str] | None
) -> dict[str, str] | None:
    """Reward model, PPO and evaluation as in the chain of the product; the new policy, if every gate let it through."""
    reward = run_iteration(spec(home, "reward", snapshot=snapshot, prompts=shared), RecordingContext())
    parents = {"reward": {"id": "1", **reward["checkpoint"]}, "policy": policy}
    ppo = spec(home / "ppo", "ppo", parents=parents, prompts=shared, hyper={"updates": 4})
    made = run_iteration(ppo, RecordingContext()) if reward["gate"]["passed"] else None
    if made is None or not made["gate"]["passed"]:
        return None
    candidate = {"id": "2", **made["checkpoint"]}
    judged = spec(home / "evaluate", "evaluate", parents=parents, candidate=candidate, prompts=shared)
    passed = run_iteration(judged, RecordingContext())["gate"]["passed"]
    return made["checkpoint"] if passed else None


def liked(texts: list[list[str]], wanted: Callable[[str], float]) -> float:
    """What the rule says of the answers on average."""
    return float(np.mean([wanted(text) for several in texts for text in several]))
