"""The project's gates decide, check by check; a run without figures is judged by its own words."""

from typing import Any

import pytest

from app.checkpoints import gates
from app.models.policies import Gates, PolicyError

REWARD = {"accuracy": 0.68, "accuracy_low": 0.6, "length_baseline": 0.63}
EVALUATION = {"win_rate": 0.7, "win_low": 0.6, "win_length_controlled": 0.55, "kl": 4.0}
YES, NO = {"passed": True, "why": "Yes."}, {"passed": False, "why": "No."}


def judged(kind: str, verdict: dict[str, Any], metrics: dict[str, Any], **chosen: Any) -> dict[str, Any]:
    return gates.judge(kind, verdict, metrics, Gates(**chosen), forced=False, kl_budget=6.0)


def failed(gate: dict[str, Any]) -> list[str]:
    return [check["name"] for check in gates.failed(gate)]


def test_what_passes_by_default_keeps_its_own_words() -> None:
    assert judged("reward", YES, REWARD)["why"] == "Yes."
    found = judged("evaluate", YES, EVALUATION)
    assert (found["passed"], failed(found)) == (True, [])
    assert [check["name"] for check in found["checks"]] == ["win_rate", "kl_budget", "unspoilt"]


@pytest.mark.parametrize(
    ("kind", "metrics", "chosen", "name"),
    [
        ("reward", REWARD, {"accuracy": 0.6}, "accuracy"),
        ("reward", REWARD | {"length_baseline": 0.7}, {}, "beat_length"),
        ("evaluate", EVALUATION, {"win_rate": 0.6}, "win_rate"),
        ("evaluate", EVALUATION, {"win_rate": 0.55, "equal_length": True}, "equal_length"),
        ("evaluate", EVALUATION | {"kl": 6.1}, {}, "kl_budget"),
        ("evaluate", EVALUATION | {"kl": 6.8, "kl_low": 6.1}, {}, "kl_budget"),
        ("evaluate", EVALUATION, {"kl_budget": 3.0}, "kl_budget"),
    ],
)
def test_each_gate_closes(kind: str, metrics: dict[str, Any], chosen: dict[str, Any], name: str) -> None:
    found = judged(kind, YES, metrics, **chosen)
    assert (found["passed"], failed(found)) == (False, [name])
    assert gates.NAMES[name] in found["why"]


def test_a_distance_may_be_over_its_budget_by_chance() -> None:
    assert judged("evaluate", YES, EVALUATION | {"kl": 6.4, "kl_low": 5.8})["passed"]


def test_a_reward_model_must_tell_the_newest_policy_s_own_answers_apart() -> None:
    metrics = REWARD | {"latest_low": 0.41}
    said = {**NO, "why": "What people ask for may have been reached.", "reached": True}
    found = judged("reward", said, metrics)
    assert (found["passed"], found["why"], failed(found)) == (False, said["why"], ["latest"])
    assert judged("reward", {**YES, "reached": False}, metrics | {"latest_low": 0.6})["passed"]
    assert judged("reward", {**YES, "reached": None}, metrics)["passed"], "too few answers to say anything"
    assert judged("reward", said, metrics, accuracy=0.4)["passed"], "the project asks for less"


def test_a_project_may_ask_for_less_than_the_run_did() -> None:
    found = judged("reward", NO, REWARD | {"accuracy_low": 0.48}, accuracy=0.45)
    assert (found["passed"], found["why"]) == (True, "It passes the gates that this project has set.")
    assert judged("reward", NO, REWARD | {"length_baseline": 0.7}, beat_length=False)["passed"]


def test_spoilt_answers_close_the_gate_whatever_the_figures_say() -> None:
    assert failed(judged("evaluate", {**NO, "spoilt": "repeats itself"}, EVALUATION)) == ["unspoilt"]


def test_without_figures_the_run_s_own_verdict_stands() -> None:
    assert judged("ppo", NO, {}) == {**NO, "forced": False}


@pytest.mark.parametrize("chosen", [{"accuracy": 1.0}, {"people": -1}, {"kl_budget": 0}, {"automatic": "yes"}])
def test_gates_that_make_no_sense_are_refused(chosen: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match=next(iter(chosen))):
        Gates.from_json(chosen)
