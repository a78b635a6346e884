"""An exported reward model scores as it does here, in transformers' own class where that can, and without Pairloop."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.workers import training
from tests.workers.reward.test_model import ROWS, make
from workers.context import RecordingContext
from workers.iteration import run_iteration
from workers.language.layers import LAST
from workers.language.model import LanguageModel, load
from workers.language.tokens import encode_prompt, encode_response
from workers.reward.export import LOADER, export, export_checkpoint, padding
from workers.reward.model import RewardModel, load_reward, score_all

MESSAGES = [{"role": "user", "content": "Name a tree."}]
RESPONSES = ["An oak.", "I do not know any tree, but there are shrubs."]


def of_last_token(lm: LanguageModel, lower: int | None) -> RewardModel:
    """A reward model that reads the last token's last state and nothing else."""
    width = lm.model.config.hidden_size
    whole = make(lm, lower)
    weights = torch.zeros(width if lower is None else 2 * width)
    weights[:width] = whole.weights[:width]
    centre, scale = torch.full_like(weights, 0.3), torch.full_like(weights, 0.5)
    return replace(whole, layer=LAST, pooling="last", centre=centre, scale=scale, weights=weights, mean=0.7, std=2.5)


def constant_of(directory: Path) -> float:
    return float(json.loads((directory / "reward_head.json").read_text())["constant"])


@pytest.mark.parametrize("lower", [None, 0, 1])
def test_transformers_scores_the_same_where_the_last_token_is_pooled(tmp_path: Path, lower: int | None) -> None:
    lm, directory = load("tiny"), tmp_path / "reward"
    model = of_last_token(lm, lower)
    ours = model.normalised(score_all(model, ROWS))
    assert export(model, directory)
    theirs = AutoModelForSequenceClassification.from_pretrained(directory)
    assert theirs.config.pad_token_id not in (None, *lm.eos)
    longest = max(len(prompt) + len(response) for prompt, response in ROWS)
    ids = torch.full((len(ROWS), longest), theirs.config.pad_token_id)
    for index, (prompt, response) in enumerate(ROWS):
        ids[index, : len(prompt) + len(response)] = torch.tensor(prompt + response)
    with torch.no_grad():
        logits = theirs(ids, attention_mask=(ids != theirs.config.pad_token_id).long()).logits[:, 0]
    assert ours.std() > 0.1
    torch.testing.assert_close(logits + constant_of(directory), ours, atol=1e-4, rtol=0)


@pytest.mark.parametrize("lora_from_labels", [1000, 30])
def test_a_run_at_depth_one_can_be_exported(shared_tiny: LanguageModel, tmp_path: Path, lora_from_labels: int) -> None:
    hyper = {"depth": 1, "pooling": "last", "lora_from_labels": lora_from_labels}
    hyper |= {"lora_learning_rate": 0.003, "lora_epochs": 3}
    snapshot = training.snapshot(tmp_path, shared_tiny, 60)
    result = run_iteration(training.spec(tmp_path, "reward", snapshot=snapshot, hyper=hyper), RecordingContext())
    model, directory = load_reward(load("tiny"), **result["checkpoint"]), tmp_path / "reward"
    ours = model.normalised(score_all(model, ROWS)).tolist()
    # The head alone reads the last token alone; adapters bring the mean of the last states with them.
    assert export_checkpoint("tiny", **result["checkpoint"], directory=directory) is (model.adapter is None)
    reward = loader(directory)
    assert [reward.score_ids(prompt, response) for prompt, response in ROWS] == pytest.approx(ours, abs=1e-4)


def loader(directory: Path) -> Any:
    """The loader that lies in the directory."""
    spec = importlib.util.spec_from_file_location("exported_reward_model", directory / "reward_model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Reward(directory)


@pytest.mark.parametrize("lower", [None, 2, 0])
def test_the_loader_scores_the_same_whatever_is_pooled(
    family: LanguageModel, tmp_path: Path, lower: int | None
) -> None:
    model, directory = replace(make(family, lower), mean=0.7, std=2.5), tmp_path / "reward"
    ours = model.normalised(score_all(model, ROWS)).tolist()
    assert not export(model, directory)
    reward = loader(directory)
    assert [reward.score_ids(prompt, response) for prompt, response in ROWS] == pytest.approx(ours, abs=1e-4)


FRESH = """
import json, sys
sys.path.insert(0, sys.argv[1])
from reward_model import Reward
reward = Reward(sys.argv[1])
print(json.dumps([reward.score(json.loads(sys.argv[2]), one) for one in sys.argv[3:]]))
assert not {"app", "workers"} & {name.partition(".")[0] for name in sys.modules}
"""


def test_a_fresh_process_without_pairloop_scores_the_same(tmp_path: Path) -> None:
    lm, directory = load("tiny"), tmp_path / "reward"
    model = make(lm, 1)
    rows = [(encode_prompt(lm, MESSAGES), encode_response(lm, one)) for one in RESPONSES]
    ours = model.normalised(score_all(model, rows)).tolist()
    export(model, directory)
    command = [sys.executable, "-c", FRESH, str(directory), json.dumps(MESSAGES), *RESPONSES]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert json.loads(said) == pytest.approx(ours, abs=1e-4)


def test_the_loader_imports_nothing_of_pairloop() -> None:
    imports = [line for line in LOADER.read_text().splitlines() if line.startswith(("import ", "from "))]
    assert not [line for line in imports if "workers" in line or "app" in line.split()]


def test_padding_is_never_what_ends_a_turn(tiny: LanguageModel, tmp_path: Path) -> None:
    assert padding(tiny) == 0
    # As with SmolLM2 from the hub, whose padding token is its end of turn.
    tokenizer = AutoTokenizer.from_pretrained(_saved(tiny, tmp_path))
    tokenizer.pad_token = tokenizer.eos_token
    assert padding(replace(tiny, tokenizer=tokenizer)) == 0
    with pytest.raises(ValueError, match="no special token but its end of turn"):
        padding(replace(tiny, tokenizer=tokenizer, eos=frozenset({0, 1, 2})))


def _saved(lm: LanguageModel, directory: Path) -> Path:
    lm.tokenizer.save_pretrained(directory)
    return directory


def test_what_cannot_be_exported_gets_a_sentence(tiny: LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file"):
        with pytest.raises(ValueError, match="is not empty"):
            export(make(tiny, None), target)
    with pytest.raises(ValueError, match="before their norm"):
        export(make(tiny, None, layer=2), tmp_path / "reward")
    assert not (tmp_path / "reward").exists()
