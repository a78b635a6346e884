"""The files are read by those whom they are for: `datasets`, and TRL's trainers."""

import json
import logging
import tarfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.datasets import exports, snapshots
from app.datasets.filters import Filters
from app.datasets.formats import format_of
from app.datasets.layouts import LAYOUTS
from tests.datasets.scene import Scene

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def load(session: Session, scene: Scene, tmp_path: Path) -> Any:
    """Write an export of the scene and load it as `datasets` would."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()

    def written(layout: str, format: str, *, guess: bool = True, **options: Any) -> Any:
        path = tmp_path / f"x.{format_of(format).suffix}"
        snapshot = snapshots.take(session, scene.project, Filters())
        manifest = exports.write_file(snapshot, layout, format, path, lambda phase, done, total: None)
        options["cache_dir"] = str(tmp_path / "cache")
        if not guess:
            options["features"] = datasets.Features.from_dict(json.loads(json.dumps(manifest["features"])))
        kind = format.partition(".")[0]
        if kind == "datasets":
            with tarfile.open(path) as archive:
                archive.extractall(tmp_path / "unpacked", filter="data")
            return datasets.load_dataset(str(tmp_path / "unpacked"), **options)
        kind = {"jsonl": "json"}.get(kind, kind)
        return datasets.load_dataset(kind, data_files=str(path), split="train", **options)

    return written


@pytest.mark.parametrize("format", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_datasets_reads_preferences_as_conversations(load: Any, format: str) -> None:
    found = load("preference", format)
    assert found.num_rows == 3
    assert found.column_names == LAYOUTS["preference"].schema.names
    assert found[0]["prompt"] == [{"role": "user", "content": "Question 0 of garden?"}]
    assert found[0]["chosen"] == [{"role": "assistant", "content": "A row of bushes."}]
    assert found[2]["rejected"] == [{"role": "assistant", "content": "No."}]


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_datasets_reads_raw_answers(load: Any, format: str) -> None:
    found = load("raw", format)
    assert found["verdict"] == ["preferred", "preferred", "tie", "skipped", "preferred"]
    assert found[0]["responses"][0]["token_ids"] == [40, 41, 2]
    criteria = found[0]["criteria"]
    assert (json.loads(criteria) if format == "parquet" else criteria) == {"honest": "a", "helpful": 2}


ROWS = {"preference": 3, "margin": 3, "standard": 3, "hh": 3, "kto": 6, "sft": 3, "ranking": 4, "prompts": 5, "raw": 5}


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_the_manifests_features_are_the_files_types(load: Any, layout: str, format: str) -> None:
    """Read a row at a time, a guess would see nothing but nulls in some columns and refuse what comes later."""
    options = {"chunksize": 10} if format == "jsonl" else {}
    found = load(layout, format, guess=False, **options)
    assert found.column_names == LAYOUTS[layout].schema.names
    assert found.features["holdout"].dtype == "bool"
    assert found.num_rows == ROWS[layout]


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_datasets_loads_a_directory_by_its_card(load: Any, layout: str) -> None:
    found = load(layout, "datasets")
    assert found["train"].num_rows + found["test"].num_rows == ROWS[layout]
    assert set(found["test"]["holdout"]) == {True}
    assert found["train"].column_names == LAYOUTS[layout].schema.names
    assert found["train"].info.splits["train"].num_examples == found["train"].num_rows


def test_datasets_reads_csv(load: Any) -> None:
    found = load("standard", "csv.gz")
    assert found["chosen"] == ["A row of bushes.", "I cannot say.", "Yes."]


def test_preferences_need_no_features_however_they_are_cut(load: Any) -> None:
    assert load("preference", "jsonl", chunksize=10).num_rows == 3


TRAINERS = [
    ("RewardTrainer", "preference", "jsonl"),
    ("RewardTrainer", "preference", "parquet"),
    ("RewardTrainer", "margin", "parquet"),
    ("RewardTrainer", "hh", "jsonl"),
    ("DPOTrainer", "preference", "parquet"),
    ("DPOTrainer", "standard", "jsonl"),
    ("KTOTrainer", "kto", "parquet"),
    ("SFTTrainer", "sft", "parquet"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("trainer", "layout", "format"), TRAINERS)
def test_trl_takes_a_step(load: Any, trainer: str, layout: str, format: str, tmp_path: Path) -> None:
    """Every trainer on the tiny model: no column has to be renamed, mapped or removed."""
    import torch
    import trl
    from transformers import AutoModelForSequenceClassification

    from workers.language import tiny

    logging.getLogger("transformers").setLevel(logging.ERROR)
    model: Any = tiny.model()
    if trainer == "RewardTrainer":
        config = type(model.config)(**{**model.config.to_dict(), "num_labels": 1})
        model = AutoModelForSequenceClassification.from_config(config)
    kind = getattr(trl, trainer.replace("Trainer", "Config"))
    args = kind(
        output_dir=str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=3,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        gradient_checkpointing=False,
    )
    # What they would make of a model's name: `tiny` has none.
    beside = {"ref_model": tiny.model()} if trainer in ("DPOTrainer", "KTOTrainer") else {}
    before = {name: value.clone() for name, value in model.named_parameters()}
    step = getattr(trl, trainer)(
        model=model, args=args, train_dataset=load(layout, format), processing_class=tiny.tokenizer(), **beside
    )
    trained = step.train()
    assert trained.global_step == 1
    assert 0 < trained.training_loss < 10
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())
