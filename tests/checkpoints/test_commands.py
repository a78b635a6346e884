"""`pairloop export-reward` and `export-policy` write what others load, and say in a sentence what they cannot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from app.checkpoints.commands import commands
from app.database import open_session
from tests.pairs import make_checkpoint
from tests.people import make_project
from tests.workers.reward.test_model import make
from workers import artifacts
from workers.language import adapters
from workers.language.model import load
from workers.reward.model import write

pytestmark = pytest.mark.usefixtures("committed")


def run(*arguments: str, command: str = "export-reward"):
    return CliRunner().invoke(commands, [command, *arguments])


def made(kind: str, directory: Path) -> int:
    """A checkpoint in the database whose files are those of a reward model on `tiny`."""
    sha256 = write(make(load("tiny"), 1), directory.as_uri(), {"samples": 1}, {"kind": "reward"})
    with open_session() as session:
        checkpoint = make_checkpoint(session, make_project(session), kind)
        checkpoint.url, checkpoint.sha256 = directory.as_uri(), sha256
        return checkpoint.id


def test_it_writes_the_directory_and_names_it(tmp_path: Path) -> None:
    target = tmp_path / "for others"
    done = run("--checkpoint", str(made("reward", tmp_path / "checkpoint")), "--to", str(target))
    assert (done.exit_code, done.stdout) == (0, f"{target}\n")
    assert "Load it with reward_model.py" in done.stderr
    assert {"config.json", "model.safetensors", "reward_head.json", "reward_model.py", "README.md"} <= {
        file.name for file in target.iterdir()
    }
    assert json.loads((target / "config.json").read_text())["architectures"] == ["LlamaModel"]


def test_what_it_cannot_write_gets_a_sentence(tmp_path: Path) -> None:
    number = str(made("policy", tmp_path / "checkpoint"))
    for wrong in (number, "999"):
        done = run("--checkpoint", wrong, "--to", str(tmp_path / "new"))
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr == f"There is no reward model {wrong}. The page of models lists what there is.\n"


def test_damaged_files_and_a_full_directory_are_refused(tmp_path: Path) -> None:
    number = str(made("reward", tmp_path / "checkpoint"))
    done = run("--checkpoint", number, "--to", str(tmp_path))
    assert (done.exit_code, done.stderr) == (1, f"{tmp_path} is not empty. Name a directory that is new.\n")
    (tmp_path / "checkpoint" / "head.safetensors").write_bytes(b"")
    done = run("--checkpoint", number, "--to", str(tmp_path / "new"))
    assert done.exit_code == 1
    assert "SHA-256" in done.stderr
    assert not (tmp_path / "new").exists()


@pytest.fixture
def policy(tmp_path: Path) -> int:
    """A policy on `tiny` whose adapter is far from changing nothing."""
    lm = load("tiny")
    adapter = adapters.create(lm, "policy", adapters.LoraConfig(), seed=1)
    with torch.no_grad():
        for tensor in adapter.parameters():
            tensor.normal_(0, 0.05, generator=torch.Generator().manual_seed(1))
    directory = tmp_path / "checkpoint"
    files = adapters.files(lm, "policy") | {"card.json": b'{"kind": "policy"}'}
    sha256 = artifacts.write(directory.as_uri(), "policy", "tiny", files)
    with open_session() as session:
        checkpoint = make_checkpoint(session, make_project(session), "policy")
        checkpoint.url, checkpoint.sha256 = directory.as_uri(), sha256
        return checkpoint.id


def test_a_policy_s_merged_weights_say_what_the_policy_says(tmp_path: Path, policy: int) -> None:
    target = tmp_path / "for others"
    done = run("--checkpoint", str(policy), "--to", str(target), command="export-policy")
    assert (done.exit_code, done.stdout) == (0, f"{target}\n"), done.stderr
    assert "Load it with AutoModelForCausalLM" in done.stderr
    assert (target / "README.md").read_text().startswith(f"# garden: policy {policy}\n")
    ids = torch.tensor([[1, 40, 41, 42, 2, 50, 51]])
    lm = load("tiny")
    with torch.no_grad():
        base = lm.model(ids).logits
        adapters.attach(lm, "policy", artifacts.read((tmp_path / "checkpoint").as_uri()))
        with adapters.using(lm, "policy"):
            expected = lm.model(ids).logits
        found = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)(ids).logits
    assert not torch.allclose(base, expected, atol=1e-3)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_policy_s_adapter_alone_is_peft_s_two_files_and_a_card(tmp_path: Path, policy: int) -> None:
    target = tmp_path / "adapter"
    done = run("--checkpoint", str(policy), "--to", str(target), "--form", "adapter", command="export-policy")
    assert (done.exit_code, done.stdout) == (0, f"{target}\n"), done.stderr
    assert "PeftModel" in done.stderr
    assert {one.name for one in target.iterdir()} == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (target / name).read_bytes() == (tmp_path / "checkpoint" / name).read_bytes()


def test_a_reward_model_is_no_policy_and_nothing_is_written_over(tmp_path: Path, policy: int) -> None:
    told = run("--checkpoint", "999", "--to", str(tmp_path / "new"), command="export-policy")
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr == "There is no policy 999. The page of models lists what there is.\n"
    told = run("--checkpoint", str(policy), "--to", str(tmp_path), command="export-policy")
    assert (told.exit_code, told.stderr) == (1, f"{tmp_path} is not empty. Name a directory that is new.\n")
    (tmp_path / "checkpoint" / "adapter_model.safetensors").write_bytes(b"")
    told = run("--checkpoint", str(policy), "--to", str(tmp_path / "new"), command="export-policy")
    assert told.exit_code == 1
    assert "SHA-256" in told.stderr
    assert not (tmp_path / "new").exists()


def test_the_pages_do_not_load_torch_for_it() -> None:
    code = "import sys, app.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
