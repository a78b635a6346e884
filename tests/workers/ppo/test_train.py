"""A PPO run earns more of what people like, keeps its best point, and a stopped one ends where an unbroken one does."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.workers import training
from workers import artifacts, drift, saved_state
from workers.context import RecordingContext, Stopped
from workers.drift import Drift
from workers.iteration import run_iteration
from workers.language.adapters import attach
from workers.language.decode import generate
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.language.tokens import decode, encode_prompt

Finished = tuple[dict[str, Any], RecordingContext]


@pytest.fixture(scope="module")
def finished(likes_vowels: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    context = RecordingContext()
    return run_iteration(training.spec(tmp_path_factory.mktemp("ppo"), "ppo", **likes_vowels), context), context


def test_the_policy_earns_more_and_passes_its_gate(finished: Finished) -> None:
    metrics, gate = finished[0]["metrics"], finished[0]["gate"]
    assert metrics["gain_low"] > 0
    assert metrics["reward_best"] - metrics["reward_start"] == pytest.approx(metrics["gain"], abs=1e-5)
    assert 0 < metrics["kl"] <= 6
    assert gate["passed"]
    assert gate["why"].startswith(f"The policy earns {metrics['gain']:+.2f} [")


def test_its_answers_hold_more_of_what_people_like(finished: Finished, tiny: LanguageModel) -> None:
    attach(tiny, "policy", artifacts.read(**finished[0]["checkpoint"]))
    prompt = encode_prompt(tiny, [{"role": "user", "content": "A prompt that nobody has seen"}])
    vowels = {}
    for adapter in ("policy", None):
        (drawn,) = generate(tiny, [prompt], 64, Settings(max_tokens=16), 9, adapter)
        vowels[adapter] = sum(training.liking(decode(tiny, one.token_ids)) for one in drawn) / 64
    assert vowels["policy"] > vowels[None] + 1


def test_every_update_reports_what_to_watch(finished: Finished) -> None:
    _, context = finished
    updates = [report for report in context.reports if report[0] == "ppo"]
    assert [report[1] for report in updates] == [1, 2, 3, 4, 5, 6]
    expected = "reward kl kl_k3 beta entropy length eos_rate clip_fraction ratio_max explained_variance grad_norm"
    for _, _, _, metrics in updates:
        assert {*expected.split(), "tokens_per_s", "rss_mb"} <= set(metrics)
        # A tight bound would not do: on one thread the numbers are the same to the last digit.
        assert metrics["first_ratio"] == 1.0
        assert metrics["mask_gap"] == 0.0
    assert updates[0][3]["kl"] == updates[0][3]["reference_gap"] == 0.0
    assert "reference_gap" not in updates[1][3]
    assert [("reward_heldout" in report[3]) for report in updates] == [False, True] * 3
    assert len(context.shown) == 6
    assert {*context.shown[0]} == {"prompt", "before", "after"}


def test_the_card_names_its_parents_and_the_adapter_is_pefts(finished: Finished, likes_vowels: dict[str, Any]) -> None:
    files = artifacts.read(**finished[0]["checkpoint"])
    assert sorted(files) == ["adapter_config.json", "adapter_model.safetensors", "card.json"]
    card = json.loads(files["card.json"])
    reward = likes_vowels["parents"]["reward"]
    assert card["parents"] == {"reward": {"id": "1", "sha256": reward["sha256"]}, "policy": None}
    assert card["metrics"] == finished[0]["metrics"]


@pytest.mark.parametrize("reports", [2, 5])
def test_a_stopped_run_goes_on_and_ends_with_the_same_checkpoint(
    finished: Finished, likes_vowels: dict[str, Any], tmp_path: Path, reports: int
) -> None:
    spec = training.spec(tmp_path, "ppo", **likes_vowels)
    with pytest.raises(Stopped):
        run_iteration(spec, RecordingContext(stop_after=reports))
    assert saved_state.newest(spec) is not None
    resumed = RecordingContext()
    again = run_iteration(spec, resumed)
    # The first report was the look at the start, so `reports - 1` updates were done.
    assert resumed.reports[0][:2] == ("ppo", reports)
    assert again["checkpoint"]["sha256"] == finished[0]["checkpoint"]["sha256"]
    assert again["metrics"] == finished[0]["metrics"]
    assert saved_state.newest(spec) is None


def test_it_starts_from_the_promoted_policy(finished: Finished, likes_vowels: dict[str, Any], tmp_path: Path) -> None:
    parents = {**likes_vowels["parents"], "policy": {"id": "2", **finished[0]["checkpoint"]}}
    context = RecordingContext()
    spec = training.spec(tmp_path, "ppo", **{**likes_vowels, "parents": parents}, hyper={"updates": 1})
    result = run_iteration(spec, context)
    # It begins where the other run ended: far from the base model, and with its reward.
    assert context.reports[0][3]["kl_heldout"] > 0.5
    assert result["metrics"]["reward_start"] == pytest.approx(finished[0]["metrics"]["reward_best"], abs=0.05)


@pytest.mark.parametrize("hold", ["leash", "price"])
def test_a_policy_beyond_its_target_is_held(likes_vowels: dict[str, Any], tmp_path: Path, hold: str) -> None:
    hyper = {"kl_target": 0.3, "kl_hold": hold, "patience": 0}
    context = RecordingContext()
    run_iteration(training.spec(tmp_path, "ppo", **likes_vowels, hyper=hyper), context)
    updates = [metrics for phase, _, _, metrics in context.reports if phase == "ppo"]
    assert max(metrics["kl"] for metrics in updates) > 0.3
    prices = {metrics["beta"] for metrics in updates}
    if hold == "leash":
        assert prices == {0.05}
        for metrics in updates:
            assert (metrics["leash"] < 1) == (metrics["kl"] > 0.3)
    else:
        assert len(prices) > 1
        assert not any("leash" in metrics for metrics in updates)


def test_a_leash_keeps_the_policy_nearer(likes_vowels: dict[str, Any], tmp_path: Path) -> None:
    last = {}
    for target in (0.3, 6.0):
        # Steps get shorter near the target as well, but that alone leaves the policy three nats away.
        hyper = {"kl_target": target, "kl_coefficient": 0.0, "patience": 0, "evaluate_every": 6}
        context = RecordingContext()
        run_iteration(training.spec(tmp_path / str(target), "ppo", **likes_vowels, hyper=hyper), context)
        last[target] = next(metrics["kl"] for _, step, _, metrics in context.reports if step == 6)
    assert last[0.3] < 2.0 < last[6.0]


def test_a_trick_ends_the_run_at_the_best_point_before_it(
    likes_vowels: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def caught_when_far(now: Drift, first: Drift) -> str | None:
        return "They all say the same." if now.kl > 2.0 else None

    monkeypatch.setattr(drift, "trick", caught_when_far)
    context = RecordingContext()
    result = run_iteration(training.spec(tmp_path, "ppo", **likes_vowels), context)
    looks = [report[3]["kl_heldout"] for report in context.reports if "kl_heldout" in report[3]]
    assert [kl > 2.0 for kl in looks] == [False, False, True]
    assert [report[1] for report in context.reports] == [0, 1, 2, 3, 4]
    assert result["metrics"]["best_update"] == 2
    assert result["gate"]["why"].endswith("They all say the same. The run went back to update 2.")


def test_without_a_better_point_the_start_is_kept_and_the_gate_shut(
    likes_vowels: dict[str, Any], tmp_path: Path
) -> None:
    hyper = {"updates": 2, "learning_rate": 1e-2, "kl_budget": 0.01, "kl_target": 0.01, "kl_hold": "price"}
    result = run_iteration(training.spec(tmp_path, "ppo", **likes_vowels, hyper=hyper), RecordingContext())
    assert result["metrics"]["best_update"] == 0
    assert result["metrics"]["kl"] == 0.0
    assert result["gate"]["passed"] is False
    assert result["gate"]["why"].startswith("No point within the KL budget earned more reward than the start.")


def test_a_point_over_the_kl_budget_goes_half_way_back_and_is_looked_at_again(
    likes_vowels: dict[str, Any], tmp_path: Path
) -> None:
    hyper = {"updates": 4, "evaluate_every": 2, "kl_target": 1.5, "kl_budget": 2.0}
    context = RecordingContext()
    result = run_iteration(training.spec(tmp_path, "ppo", **likes_vowels, hyper=hyper), context)
    at = next(number for number, text in enumerate(context.texts) if text)
    assert context.texts[at].endswith(" nats are over the budget: half-way back to update 2.")
    assert context.reports[at][1] == 4
    assert context.reports[at][3]["kl_heldout"] < 2.0
    assert result["metrics"]["best_update"] == 4


def test_a_kept_point_that_proves_to_be_over_the_budget_is_drawn_in_and_measured_again(
    likes_vowels: dict[str, Any], tmp_path: Path
) -> None:
    """The same point under two budgets, the second between its look and what fresh answers say."""
    hyper = {"updates": 4, "evaluate_every": 4, "kl_target": 1.5, "kl_hold": "price"}
    wide = RecordingContext()
    free = run_iteration(training.spec(tmp_path / "wide", "ppo", **likes_vowels, hyper=hyper), wide)
    look = wide.reports[-1][3]["kl_heldout"]
    assert look < free["metrics"]["kl"] < 6
    budget = (look + free["metrics"]["kl"]) / 2
    narrow = RecordingContext()
    spec = training.spec(tmp_path / "narrow", "ppo", **likes_vowels, hyper={**hyper, "kl_budget": budget})
    held = run_iteration(spec, narrow)
    assert narrow.reports[-1][3]["kl_heldout"] == look
    assert held["metrics"]["kl"] < budget
    assert held["metrics"]["gain_low"] > 0
    assert held["gate"]["passed"]
