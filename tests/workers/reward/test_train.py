"""A reward run learns what people like, says how sure it is, and a killed one ends where an unbroken one does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.checkpoints import figures
from tests.workers import training
from tests.workers.reward import snapshots
from workers import artifacts
from workers.context import IterationSpec, RecordingContext, Stopped
from workers.iteration import run_iteration
from workers.language.decode import generate
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.language.tokens import decode, encode_prompt
from workers.reward.model import load_reward, score_all
from workers.reward.report import spearman


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reward")


@pytest.fixture(scope="module")
def files(home: Path, shared_tiny: LanguageModel) -> dict[str, Any]:
    """A snapshot of 80 answers, one in 20 a slip, and prompts."""
    return {"snapshot": training.snapshot(home, shared_tiny, 80, flip=20), "prompts": training.prompts(home)}


@pytest.fixture(scope="module")
def finished(home: Path, files: dict[str, Any]) -> tuple[dict[str, Any], RecordingContext]:
    context = RecordingContext()
    return run_iteration(training.spec(home, "reward", **files), context), context


def test_it_finds_out_what_people_like(finished: tuple[dict[str, Any], RecordingContext], tiny: LanguageModel) -> None:
    result, _ = finished
    assert result["gate"]["passed"]
    assert result["metrics"]["accuracy"] > 0.8
    assert result["metrics"]["accuracy_low"] < result["metrics"]["accuracy"] < result["metrics"]["accuracy_high"]
    model = load_reward(tiny, **result["checkpoint"])
    prompt = encode_prompt(tiny, [{"role": "user", "content": "A prompt that nobody has seen"}])
    (drawn,) = generate(tiny, [prompt], 64, Settings(max_tokens=24), seed=9)
    scores = score_all(model, [(one.prompt_ids, one.token_ids) for one in drawn]).numpy()
    liked = np.array([float(training.liking(decode(tiny, one.token_ids))) for one in drawn])
    assert spearman(scores.astype(np.float64), liked) > 0.5


def test_it_trains_adapters_and_says_what_they_brought(finished: tuple[dict[str, Any], RecordingContext]) -> None:
    result, context = finished
    steps = [report for report in context.reports if report[0] == "adapters"]
    assert steps[-1][1] == steps[-1][2] > 2
    assert all(report[3]["loss"] > 0 for report in steps)
    metrics = result["metrics"]
    # They are kept only where unseen answers became likelier.
    assert metrics["nll_adapters"] <= metrics["nll_head"]
    assert (metrics["adapter_steps"] > 0) == ("adapter_config.json" in artifacts.read(**result["checkpoint"]))


def test_every_figure_has_a_name_in_words(finished: tuple[dict[str, Any], RecordingContext]) -> None:
    metrics = finished[0]["metrics"]
    assert {"temperature", "ece_tempered", "accuracy_gap_small", "accuracy_strength_1"} <= set(metrics)
    assert set(metrics) - set(figures.NAMES) == set()


def test_zero_is_the_base_models_average_answer(
    finished: tuple[dict[str, Any], RecordingContext], tiny: LanguageModel
) -> None:
    model = load_reward(tiny, **finished[0]["checkpoint"])
    ids = [encode_prompt(tiny, [{"role": "user", "content": text}]) for text in training.PROMPTS[:24]]
    drawn = generate(tiny, ids, 20, Settings(max_tokens=16), seed=77)
    rows = [(one.prompt_ids, one.token_ids) for several in drawn for one in several]
    scores = model.normalised(score_all(model, rows))
    # 480 fresh answers against the 32 that set the scale: a mean within 3 standard errors of 1 / sqrt(32).
    assert abs(float(scores.mean())) < 0.55
    assert 0.6 < float(scores.std()) < 1.6


def test_the_card_says_where_it_comes_from(
    finished: tuple[dict[str, Any], RecordingContext], files: dict[str, Any]
) -> None:
    card = json.loads(artifacts.read(**finished[0]["checkpoint"])["card.json"])
    assert card["snapshot"] == files["snapshot"]["sha256"]
    assert card["gate"] == finished[0]["gate"]
    assert card["hyper"]["lora_from_labels"] == 30


def test_with_few_labels_the_head_stands_alone(home: Path, files: dict[str, Any], tmp_path: Path) -> None:
    context = RecordingContext()
    result = run_iteration(training.spec(tmp_path, "reward", **files, hyper={"lora_from_labels": 1000}), context)
    assert "adapters" not in {report[0] for report in context.reports}
    assert result["metrics"]["adapter_steps"] == 0
    assert sorted(artifacts.read(**result["checkpoint"])) == ["card.json", "head.safetensors", "reward_stats.json"]


def test_random_answers_do_not_pass_the_gate(tmp_path: Path) -> None:
    rows = [
        snapshots.answer(f"prompt {i}", f"red {i % 7}", f"blue {i % 5}", preferred="ab"[(i * i + i // 3) % 2])
        for i in range(30)
    ]
    reference = {"url": tmp_path.as_uri() + "/s", "sha256": snapshots.write(tmp_path.as_uri() + "/s", rows)}
    spec = training.spec(tmp_path, "reward", snapshot=reference, hyper={"lora_from_labels": 1000})
    result = run_iteration(spec, RecordingContext())
    assert not result["gate"]["passed"]
    assert result["gate"]["why"].startswith("The reward model's interval still includes chance:")


@pytest.mark.parametrize("together", [True, False])
def test_who_often_disagrees_counts_less_where_that_is_wanted(tmp_path: Path, together: bool) -> None:
    rows = []
    for i in range(16):
        said = {"alice": "a", "bob": "a", "carol": "ba"[i % 2]}
        for who, preferred in said.items() if together else [list(said.items())[i % 3]]:
            rows.append(snapshots.answer(f"prompt {i}", f"red {i}", f"blue {i}", annotator=who, preferred=preferred))
    reference = {"url": tmp_path.as_uri() + "/s", "sha256": snapshots.write(tmp_path.as_uri() + "/s", rows)}
    heads = []
    for reliability in ("on", "off"):
        hyper = {"lora_from_labels": 1000, "reference_samples": 8, "reliability": reliability}
        result = run_iteration(training.spec(tmp_path, "reward", snapshot=reference, hyper=hyper), RecordingContext())
        heads.append(artifacts.read(**result["checkpoint"])["head.safetensors"])
    # Where everybody answered for themselves alone nothing is known of anybody.
    assert (heads[0] != heads[1]) is together


def test_its_result_names_the_answers_that_surprised_it(finished: tuple[dict[str, Any], RecordingContext]) -> None:
    surprising = finished[0]["surprising"]
    # Eighty answers, four of them turned round.
    assert 0 < len(surprising) < 30
    assert all(set(one) == {"comparison", "probability"} and one["probability"] < 0.5 for one in surprising)
    assert surprising == sorted(surprising, key=lambda one: one["probability"])


def stopped_after(spec: IterationSpec, reports: int) -> None:
    with pytest.raises(Stopped):
        run_iteration(spec, RecordingContext(stop_after=reports))


def test_a_stopped_run_goes_on_and_ends_with_the_same_checkpoint(
    finished: tuple[dict[str, Any], RecordingContext], home: Path, files: dict[str, Any], tmp_path: Path
) -> None:
    _, context = finished
    second_step = next(i for i, report in enumerate(context.reports, start=1) if report[:2] == ("adapters", 2))
    # The same spec but for its addresses, which do not enter the checkpoint.
    spec = training.spec(tmp_path, "reward", **files)
    stopped_after(spec, second_step)
    resumed = RecordingContext()
    again = run_iteration(spec, resumed)
    assert next(report[1] for report in resumed.reports if report[0] == "adapters") == 3
    assert again["checkpoint"]["sha256"] == finished[0]["checkpoint"]["sha256"]
