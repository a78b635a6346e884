"""`pairloop export-reward` writes what the loader scores with, and says in a sentence what it cannot."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.checkpoints.commands import commands
from app.database import open_session
from tests.pairs import make_checkpoint
from tests.people import make_project
from tests.workers.reward.test_model import make
from workers.language.model import load
from workers.reward.model import write

pytestmark = pytest.mark.usefixtures("committed")


def run(*arguments: str):
    return CliRunner().invoke(commands, ["export-reward", *arguments])


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


def test_the_pages_do_not_load_torch_for_it() -> None:
    code = "import sys, app.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
