"""The command line explains itself, and says in a sentence what it lacks."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from app import __version__
from app.cli import app

GROUP = typer.main.get_group(app)
PROMISED = {
    "up",
    "web",
    "worker",
    "engine",
    "migrate",
    "create-user",
    "create-token",
    "import",
    "export",
    "export-policy",
    "export-reward",
    "simulate",
    "run",
}


def pairloop(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **variables}
    command = [sys.executable, "-P", "-m", "app.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_has_the_promised_commands() -> None:
    assert set(GROUP.commands) == PROMISED


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_every_command_has_an_example_that_its_own_parser_takes(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAIRLOOP_TOKEN", "a token")
    (tmp_path / "prompts.jsonl").touch()
    command = GROUP.commands[name]
    assert command.help
    assert command.epilog
    _, called, arguments = command.epilog.partition(f"pairloop {name}")
    assert called
    context = command.make_context(name, shlex.split(arguments))
    assert arguments == "" or context.params or context.args


def test_the_version_is_all_that_goes_to_standard_output() -> None:
    said = pairloop("--version")
    assert (said.returncode, said.stdout, said.stderr) == (0, f"{__version__}\n", "")


def test_without_a_database_a_command_says_what_to_set(tmp_path: Path) -> None:
    said = pairloop("create-token", "--email", "alice@example.org", "--name", "x", PAIRLOOP_DATA_DIR=str(tmp_path))
    assert said.returncode == 1
    assert said.stdout == ""
    assert said.stderr.startswith("There is no database to work with: PAIRLOOP_DATABASE_URL is not set")
    assert "Traceback" not in said.stderr


def test_a_server_that_is_not_there_gets_a_sentence() -> None:
    said = pairloop("run", "--project", "demo", "--kind", "chain", "--token", "x", "--url", "http://127.0.0.1:9")
    assert said.returncode == 1
    assert "Pairloop at http://127.0.0.1:9 does not answer" in said.stderr
    assert "Traceback" not in said.stderr
