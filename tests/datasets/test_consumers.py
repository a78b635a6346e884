"""The files are read by those whom they are for: `datasets`, and TRL's RewardTrainer."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.datasets import exports, snapshots
from app.datasets.filters import Filters
from app.datasets.formats import FORMATS
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
        path = tmp_path / f"x.{format}"
        snapshot = snapshots.take(session, scene.project, Filters())
        manifest = exports.write_file(snapshot, layout, format, path, lambda phase, done, total: None)
        if not guess:
            options["features"] = datasets.Features.from_dict(json.loads(json.dumps(manifest["features"])))
        kind = {"jsonl": "json"}.get(format, format)
        return datasets.load_dataset(
            kind, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"), **options
        )

    return written


@pytest.mark.parametrize("format", list(FORMATS))
def test_datasets_reads_preferences_as_conversations(load: Any, format: str) -> None:
    found = load("preference", format)
    assert found.num_rows == 3
    assert found.column_names == LAYOUTS["preference"].schema.names
    assert found[0]["prompt"] == [{"role": "user", "content": "Question 0 of garden?"}]
    assert found[0]["chosen"] == [{"role": "assistant", "content": "A row of bushes."}]
    assert found[2]["rejected"] == [{"role": "assistant", "content": "No."}]


@pytest.mark.parametrize("format", list(FORMATS))
def test_datasets_reads_raw_answers(load: Any, format: str) -> None:
    found = load("raw", format)
    assert found["verdict"] == ["preferred", "preferred", "tie", "skipped", "preferred"]
    assert found[0]["responses"][0]["token_ids"] == [40, 41, 2]
    criteria = found[0]["criteria"]
    assert (json.loads(criteria) if format == "parquet" else criteria) == {"honest": "a", "helpful": 2}


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("format", list(FORMATS))
def test_the_manifests_features_are_the_files_types(load: Any, layout: str, format: str) -> None:
    """Read a row at a time, a guess would see nothing but nulls in some columns and refuse what comes later."""
    options = {"chunksize": 10} if format == "jsonl" else {}
    found = load(layout, format, guess=False, **options)
    assert found.features["created"].dtype == "timestamp[us, tz=UTC]"
    assert found.features["strength"].dtype == "int8"
    assert found.num_rows == {"preference": 3, "raw": 5}[layout]


def test_preferences_need_no_features_however_they_are_cut(load: Any) -> None:
    assert load("preference", "jsonl", chunksize=10).num_rows == 3


@pytest.mark.slow
@pytest.mark.parametrize("format", list(FORMATS))
def test_trls_reward_trainer_takes_a_step(load: Any, format: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    from workers.language import tiny

    tokenizer = tiny.tokenizer()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    model = AutoModelForSequenceClassification.from_config(
        type(tiny.model().config)(**{**tiny.model().config.to_dict(), "num_labels": 1})
    )
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(
            output_dir=str(tmp_path),
            max_steps=1,
            per_device_train_batch_size=3,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            disable_tqdm=True,
            gradient_checkpointing=False,
        ),
        train_dataset=load("preference", format),
        processing_class=tokenizer,
    )
    trained = trainer.train()
    assert trained.global_step == 1
    assert 0 < trained.training_loss < 5
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())
