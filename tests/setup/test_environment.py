"""The set-up repairs what was cut off, does nothing twice, and pins everything without naming a registry."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """setup_environment.py, with its .venv in a temporary directory."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delitem(sys.modules, "setup_environment", raising=False)
    import setup_environment as module

    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "installed")
    monkeypatch.setattr(module, "works", lambda: True)
    (tmp_path / ".venv").mkdir()
    return module


def package(environment: ModuleType, name: str, record: str | None) -> Path:
    metadata: Path = environment.VENV / f"lib/python3.11/site-packages/{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    if record is not None:
        (metadata / "RECORD").write_text(record)
    return metadata


def test_what_pip_did_not_finish_is_forgotten_so_that_it_is_written_again(environment: ModuleType) -> None:
    whole = package(environment, "whole", "whole/__init__.py,,\nwhole-1.0.dist-info/INSTALLER,sha256=x,4\n")
    unfinished = package(environment, "unfinished", "unfinished/__init__.py,,\n")
    begun = package(environment, "begun", None)
    replaced = whole.parent / "~placed"
    replaced.mkdir()
    environment.remove_half_installed()
    assert [path.exists() for path in (whole, unfinished, begun, replaced)] == [True, False, False, False]


def test_it_is_installed_only_with_the_same_dependencies_and_extras(environment: ModuleType) -> None:
    assert not environment.is_installed({"worker"})
    environment.STAMP.write_text(f"{environment.fingerprint()}\nembedded\nworker\n")
    assert environment.is_installed({"worker", "embedded"})
    assert not environment.is_installed({"worker", "embedded", "dev"})
    environment.STAMP.write_text("of another pyproject.toml\nembedded\nworker\n")
    assert not environment.is_installed({"worker"})


def test_the_extras_it_installs_exist(environment: ModuleType) -> None:
    assert set().union(*environment.EXTRAS.values()) == set(PYPROJECT["project"]["optional-dependencies"])
    assert environment.EXTRAS["run"] < environment.EXTRAS["test"]


def test_an_unknown_profile_gets_a_sentence() -> None:
    said = subprocess.run(
        [sys.executable, str(ROOT / "setup_environment.py"), "everything"], check=False, capture_output=True, text=True
    )
    assert said.returncode == 1
    assert "setup_environment.py run" in said.stderr


def test_every_dependency_is_pinned() -> None:
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    optional = PYPROJECT["project"]["optional-dependencies"].values()
    wanted = [*PYPROJECT["project"]["dependencies"], *(name for extra in optional for name in extra)]
    names = {re.match(r"[\w.-]+", wish)[0].lower().replace("_", "-") for wish in wanted}  # type: ignore[index]
    assert names - pinned == set()


def test_no_tracked_file_names_a_package_registry() -> None:
    # Put together here, so that this file does not find itself.
    hosts = ["pypi" + ".org", "python" + "hosted.org", "download." + "pytorch", "registry." + "npmjs"]
    found = subprocess.run(
        ["git", "grep", "-lIF", *(part for host in hosts for part in ("-e", host))],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert found.stdout.splitlines() == []


def test_every_target_says_what_it_does() -> None:
    helped = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for target in ("run", "test", "test-all", "lint", "bench", "demo", "screenshots", "constraints", "help"):
        assert re.search(rf"make {target} +\S", helped)


def test_make_hands_its_variables_on_even_with_spaces() -> None:
    command = ["make", "--dry-run", "run", "PYTHON=python3", "HOST=0.0.0.0", "PORT=9000", "DATA=/a b"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert 'pairloop up --host 0.0.0.0 --port 9000 --data "/a b"' in said


def test_without_a_python_make_says_which_it_needs() -> None:
    said = subprocess.run(["make", "run", "PYTHON="], cwd=ROOT, check=False, capture_output=True, text=True)
    assert said.returncode == 2
    assert "needs Python 3.11 to 3.14 and found none" in said.stderr
