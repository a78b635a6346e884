"""A DPO run learns from the choices alone, keeps its best point within the budget, and makes a policy like others."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.workers import training
from workers import artifacts, saved_state
from workers.context import RecordingContext, Stopped
from workers.iteration import run_iteration
from workers.language.adapters import attach
from workers.language.checkpoints import Checkpoint, Checkpoints
from workers.language.decode import generate
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.language.tokens import decode, encode_prompt

Finished = tuple[dict[str, Any], RecordingContext]


@pytest.fixture(scope="module")
def given(shared_tiny: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Choices by people who like vowels, and prompts; no reward model."""
    home = tmp_path_factory.mktemp("given")
    return {"snapshot": training.snapshot(home, shared_tiny, 200), "prompts": training.prompts(home)}


@pytest.fixture(scope="module")
def finished(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    context = RecordingContext()
    return run_iteration(training.spec(tmp_path_factory.mktemp("dpo"), "dpo", **given), context), context


def reports(context: RecordingContext, phase: str) -> list[dict[str, float]]:
    return [metrics for one, _, _, metrics in context.reports if one == phase]


def test_the_policy_agrees_with_people_and_passes_its_gate(finished: Finished) -> None:
    metrics, gate = finished[0]["metrics"], finished[0]["gate"]
    assert metrics["accuracy_low"] > 0.5
    assert metrics["nll"] < math.log(2)
    assert 0 < metrics["kl"] <= 6
    assert gate["passed"], gate["why"]


def test_its_answers_hold_more_of_what_people_like(finished: Finished, tiny: LanguageModel) -> None:
    attach(tiny, "policy", artifacts.read(**finished[0]["checkpoint"]))
    prompt = encode_prompt(tiny, [{"role": "user", "content": "A prompt that nobody has seen"}])
    vowels = {}
    for adapter in ("policy", None):
        (drawn,) = generate(tiny, [prompt], 64, Settings(max_tokens=16), 9, adapter)
        vowels[adapter] = sum(training.liking(decode(tiny, one.token_ids)) for one in drawn) / 64
    assert vowels["policy"] > vowels[None] + 0.5


def test_it_begins_at_the_base_model_and_reports_what_to_watch(finished: Finished) -> None:
    _, context = finished
    (start,) = reports(context, "judge")
    assert start["loss_heldout"] == pytest.approx(math.log(2), abs=1e-5)
    assert start["kl_heldout"] == 0.0
    assert start["reference_gap"] < 1e-6
    steps = reports(context, "dpo")
    assert all({"loss", "accuracy", "margin", "grad_norm"} <= set(metrics) for metrics in steps)
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    looks = [number for number, metrics in enumerate(steps, start=1) if "kl_heldout" in metrics]
    assert looks == [*range(4, len(steps), 4), len(steps)]
    best = min(looks, key=lambda step: steps[step - 1]["loss_heldout"])
    assert finished[0]["metrics"]["best_step"] == best
    expected = {"loss_heldout", "accuracy_heldout", "margin_heldout", "length_heldout", "eos_heldout"}
    assert expected <= set(steps[3])
    assert {*context.shown[0]} == {"prompt", "before", "after"}


def test_the_checkpoint_is_a_policy_that_the_engine_takes(
    finished: Finished, given: dict[str, Any], tiny: LanguageModel, tmp_path: Path
) -> None:
    checkpoint = finished[0]["checkpoint"]
    files = artifacts.read(**checkpoint)
    assert sorted(files) == ["adapter_config.json", "adapter_model.safetensors", "card.json"]
    card = json.loads(files["card.json"])
    assert (card["made_by"], card["snapshot"]) == ("dpo", given["snapshot"]["sha256"])
    assert card["parents"] == {"reward": None, "policy": None}
    assert card["metrics"] == finished[0]["metrics"]
    store = checkpoint["url"].rsplit("/checkpoint", 1)[0]
    named = Checkpoint("7", checkpoint["url"], checkpoint["sha256"])
    assert Checkpoints(tiny, store, tmp_path).borrow(named) in tiny.adapters


def test_an_evaluation_takes_it_as_a_candidate(
    finished: Finished, likes_vowels: dict[str, Any], tmp_path: Path
) -> None:
    candidate = {"id": "7", **finished[0]["checkpoint"]}
    spec = training.spec(tmp_path, "evaluate", **likes_vowels, candidate=candidate)
    metrics = run_iteration(spec, RecordingContext())["metrics"]
    assert metrics["win_rate"] > 0.5
    assert metrics["kl"] > 0.2


def test_a_stopped_run_goes_on_and_ends_with_the_same_checkpoint(
    finished: Finished, given: dict[str, Any], tmp_path: Path
) -> None:
    spec, read = training.spec(tmp_path, "dpo", **given), len(reports(finished[1], "read"))
    for reports_made in (3, read + 1 + 5):
        with pytest.raises(Stopped):
            run_iteration(spec, RecordingContext(stop_after=reports_made))
    resumed = RecordingContext()
    again = run_iteration(spec, resumed)
    # The sixth report after the reading was that of step 5: the first one was the look at the start.
    assert resumed.reports[read][:2] == ("dpo", 6)
    assert again["checkpoint"]["sha256"] == finished[0]["checkpoint"]["sha256"]
    assert again["metrics"] == finished[0]["metrics"]
    assert saved_state.newest(spec) is None


def test_beyond_the_budget_nothing_is_kept_and_the_run_ends(given: dict[str, Any], tmp_path: Path) -> None:
    context, hyper = RecordingContext(), {"kl_budget": 0.5, "learning_rate": 5e-3, "patience": 0}
    result = run_iteration(training.spec(tmp_path, "dpo", **given, hyper=hyper), context)
    looks = [metrics["kl_heldout"] for metrics in reports(context, "dpo") if "kl_heldout" in metrics]
    assert [kl > 0.5 for kl in looks[-2:]] == [True, True]
    assert not any(one > 0.5 and other > 0.5 for one, other in pairwise(looks[:-1]))
    kept = int(result["metrics"]["best_step"])
    assert kept == 0 or looks[kept // 4 - 1] <= 0.5
    assert result["gate"]["why"].endswith(f"the budget is 0.5. The run went back to step {kept}.")


def test_choices_that_are_chance_end_by_patience(
    shared_tiny: LanguageModel, given: dict[str, Any], tmp_path: Path
) -> None:
    # Every second answer is turned round: nothing can be learned but by heart.
    snapshot = training.snapshot(tmp_path, shared_tiny, 120, flip=2)
    context, hyper = RecordingContext(), {"learning_rate": 1e-2, "epochs": 20, "kl_budget": 100}
    spec = training.spec(tmp_path, "dpo", snapshot=snapshot, prompts=given["prompts"], hyper=hyper)
    result = run_iteration(spec, context)
    assert "The loss on unseen choices has not fallen at 2 looks in a row." in result["gate"]["why"]
    assert not result["gate"]["passed"]
    assert len(reports(context, "dpo")) < 20 * 10


def test_without_prompts_it_answers_those_of_the_snapshot(given: dict[str, Any], tmp_path: Path) -> None:
    spec = training.spec(tmp_path, "dpo", snapshot=given["snapshot"], hyper={"epochs": 1, "heldout_answers": 4})
    context = RecordingContext()
    run_iteration(spec, context)
    assert context.shown[0]["prompt"] in training.PROMPTS
