"""Who wins, by how much and at what price: the figures by hand, and a whole run on `tiny`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.runs.hyper import EvaluateHyper
from tests.workers import training
from workers.context import Parent, RecordingContext
from workers.duels import Answers, length_controlled, length_controlled_interval, regressions, win_matrix
from workers.evaluate import gate
from workers.iteration import run_iteration

METRICS = {"win_rate": 0.7, "win_low": 0.6, "win_high": 0.8, "win_length_controlled": 0.65, "prompts": 64.0}
METRICS |= {"kl": 4.0, "kl_low": 3.5, "kl_high": 4.5, "length": 40.0, "length_base": 40.0}
METRICS |= {"repetition": 0.1, "repetition_base": 0.1, "eos_rate": 0.9, "eos_rate_base": 0.9}


def answers(scores: list[list[float]], lengths: list[list[float]]) -> Answers:
    return Answers(np.array(scores), np.array(lengths), 1.0, 0.0, 1.0, [])


def test_every_answer_meets_every_answer_to_its_prompt() -> None:
    # Prompt 0: 3 beats 1 and 2, 0 loses to both: 2 of 4. Prompt 1: equal answers are half a win.
    found = win_matrix(np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 2.0], [1.0, 1.0]]))
    assert found.tolist() == [0.5, 0.5]
    assert win_matrix(np.array([[5.0]]), np.array([[1.0]])).tolist() == [1.0]


def test_a_win_by_length_alone_disappears_at_equal_length() -> None:
    rng = np.random.default_rng(1)
    long, short = rng.normal(50, 15, (100, 2)), rng.normal(30, 15, (100, 2))
    noise = rng.logistic(size=(100, 2)) * 2
    ours, theirs = answers((long / 5 + noise).tolist(), long.tolist()), answers((short / 5).tolist(), short.tolist())
    assert win_matrix(ours.scores, theirs.scores).mean() > 0.75
    assert 0.35 < length_controlled(ours, theirs) < 0.65


def test_a_win_at_any_length_stays() -> None:
    rng = np.random.default_rng(2)
    lengths = rng.normal(40, 15, (2, 100, 2))
    ours = answers((rng.logistic(size=(100, 2)) + 1.5).tolist(), lengths[0].tolist())
    theirs = answers(rng.logistic(size=(100, 2)).tolist(), lengths[1].tolist())
    assert length_controlled(ours, theirs) == pytest.approx(win_matrix(ours.scores, theirs.scores).mean(), abs=0.03)


def test_the_interval_at_equal_length_holds_the_rate_and_narrows_with_prompts() -> None:
    rng = np.random.default_rng(3)

    def wide(prompts: int) -> float:
        lengths = rng.normal(40, 15, (2, prompts, 2))
        ours = answers((rng.logistic(size=(prompts, 2)) + 0.8).tolist(), lengths[0].tolist())
        theirs = answers(rng.logistic(size=(prompts, 2)).tolist(), lengths[1].tolist())
        low, high = length_controlled_interval(ours, theirs)
        assert low < length_controlled(ours, theirs) < high
        return high - low

    # Sixteen times the prompts: about a quarter of the width.
    assert wide(400) < 0.4 * wide(25)


def test_prompts_that_got_worse_are_listed_the_worst_first() -> None:
    texts = ["new one", "new two", "new three"]
    ours = answers([[1.0, 1.0], [0.0, 0.0], [2.0, 0.0]], [[1.0, 1.0]] * 3)._replace(texts=texts)
    theirs = answers([[3.0, 3.0], [0.5, 0.5], [1.0, 1.0]], [[1.0, 1.0]] * 3)._replace(texts=["old"] * 3)
    # The third prompt is half won, at the same mean reward: no worse.
    found = regressions(["one", "two", "three"], ours, theirs)
    assert [(one["prompt"], one["reward"], one["reward_before"]) for one in found] == [
        ("one", 1.0, 3.0),
        ("two", 0.0, 0.5),
    ]
    assert (found[0]["before"], found[0]["after"], found[0]["win_rate"]) == ("old", "new one", 0.0)


def test_the_gate_says_why() -> None:
    hyper = EvaluateHyper()
    passed, why = gate(METRICS, Parent("2", "file:///x", "0"), hyper)
    assert passed
    assert why == (
        "The candidate wins 70% [60%, 80%] of 64 prompts against the policy in use (65% at equal length), "
        "4.0 nats from the base model."
    )
    passed, why = gate(METRICS | {"win_low": 0.49}, None, hyper)
    assert (passed, "may be chance" in why, "against the base model" in why) == (False, True, True)
    passed, why = gate(METRICS | {"kl": 6.8, "kl_low": 6.2, "kl_high": 7.4}, None, hyper)
    assert (passed, "but is 6.8 [6.2, 7.4] nats from the base model; the budget is 6" in why) == (False, True)
    # PPO's own answers said that it is within the budget, and these do not show the contrary.
    assert gate(METRICS | {"kl": 6.4, "kl_low": 5.8, "kl_high": 7.0}, None, hyper)[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"repetition": 0.3}, "but repeats 30% of its trigrams (base model: 10%)."),
        ({"eos_rate": 0.4}, "but ends only 40% of its answers (base model: 90%)."),
        ({"length": 81.0}, "but needs 81 tokens for an answer (base model: 40)."),
    ],
)
def test_a_win_by_a_trick_does_not_pass(change: dict[str, float], sentence: str) -> None:
    passed, why = gate(METRICS | change, None, EvaluateHyper())
    assert not passed
    assert sentence in why


@pytest.fixture(scope="module")
def candidate(likes_vowels: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    spec = training.spec(tmp_path_factory.mktemp("candidate"), "ppo", **likes_vowels)
    return {"id": "2", **run_iteration(spec, RecordingContext())["checkpoint"]}


def test_a_trained_policy_beats_the_base_model(
    likes_vowels: dict[str, Any], candidate: dict[str, str], tmp_path: Path
) -> None:
    context = RecordingContext()
    result = run_iteration(training.spec(tmp_path, "evaluate", **likes_vowels, candidate=candidate), context)
    metrics = result["metrics"]
    assert metrics["opponent"] == "base"
    assert metrics["win_rate"] == metrics["win_base_rate"] > 0.6
    assert metrics["win_low"] < metrics["win_rate"] <= metrics["win_high"]
    assert metrics["reward"] > metrics["reward_base"]
    assert 0 < metrics["kl_low"] < metrics["kl"] < metrics["kl_high"] < 6
    assert result["gate"]["passed"]
    assert metrics["win_length_controlled_low"] < metrics["win_length_controlled_high"]
    assert metrics["worse"] * 16 == len(result["regressions"])
    assert len(context.shown) == 8
    assert context.reports[-1][:3] == ("evaluate", 3, 3)


def test_a_policy_does_not_beat_itself(likes_vowels: dict[str, Any], candidate: dict[str, str], tmp_path: Path) -> None:
    parents = {**likes_vowels["parents"], "policy": candidate}
    spec = training.spec(tmp_path, "evaluate", **{**likes_vowels, "parents": parents}, candidate=candidate)
    result = run_iteration(spec, RecordingContext())
    assert result["metrics"]["opponent"] == "2"
    assert result["metrics"]["win_rate"] == 0.5
    assert result["metrics"]["win_base_rate"] > 0.6
    assert not result["gate"]["passed"]
    assert "may be chance: 50%" in result["gate"]["why"]
