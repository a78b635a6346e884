"""Models that come and go as archives: what an `export` run of a model writes, and what an `import` run takes in."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.checkpoints import brought, packages
from app.database import open_session
from app.datasets import artifacts as store
from app.models import Project, Run
from app.runs import steps
from app.runs.progress import Cancelled, Failed, PutBack
from app.settings import settings
from workers import artifacts, launch
from workers.launch import Stop

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
"""PEFT's files; the card of the training run stays here, because README.md says more."""


def write(run_id: int, log: Path, asked_to_stop: Callable[[], Stop | None]) -> None:
    """Write a model's package: its files and its card in one archive."""
    with open_session() as session:
        run = session.get_one(Run, run_id)
        checkpoint, card = packages.card_of(session, run)
        name, url, form = packages.name_of(session, run), packages.place_of(run), run.params["form"]
        run.message = "Writes the files."
    with store.made_for(url) as made:
        directory = made / packages.MODEL
        if form == "adapter":
            _copy(checkpoint.url, checkpoint.sha256, directory)
        else:
            do = "reward" if checkpoint.kind == "reward" else "merge"
            given = {"base_model": checkpoint.base_model, "url": checkpoint.url, "sha256": checkpoint.sha256}
            _child({"do": do, "directory": str(directory), **given}, log, asked_to_stop)
        written = directory / packages.CARD
        how = written.read_text() if written.exists() else ""
        written.write_text(f"{card}\n{how}" if how else card)
        facts = packages.zip_up(directory, made / name)
        _only(made, name)
        store.put(made, url)
    with open_session() as session:
        run = session.get_one(Run, run_id, with_for_update=True)
        found = {"package": {"url": f"{url}/{name}", "name": name, **facts}}
        steps.succeeded(session, run, found, f"Wrote {facts['bytes']:,} bytes.")


def take_in(run_id: int, log: Path, asked_to_stop: Callable[[], Stop | None]) -> None:
    """Make a candidate of an archive that somebody brought, and remove the archive."""
    with open_session() as session:
        run = session.get_one(Run, run_id)
        project = session.get_one(Project, run.project_id)
        place, snapshot = brought.place_of(run), run.snapshot.sha256 if run.snapshot else None
        output = f"{settings.artifacts}/checkpoints/{run_id}/"
        base, run.message = project.base_model, "Reads the archive."
    with store.made_for(output) as made, store.opened(f"{place}/{brought.FILE}") as file:
        brought.unpack(file, made)
        asked = {"do": "adopt", "directory": str(made), "base_model": base, "output": output}
        card = {"run": str(run_id), "snapshot": snapshot}
        result = _child({**asked, "card": card}, log, asked_to_stop)
    with open_session() as session:
        run = session.get_one(Run, run_id, with_for_update=True)
        candidate = brought.register(session, run, result)
        kept = {"checkpoint": {**result, "id": str(candidate.id)}}
        steps.succeeded(session, run, kept, f"Checkpoint {candidate.id} is a candidate. Evaluate it before you use it.")
    artifacts.delete(f"{place}/")


def _copy(url: str, sha256: str, directory: Path) -> None:
    try:
        found = artifacts.read(url, sha256)
    except artifacts.ArtifactDamaged as problem:
        raise Failed(str(problem)) from problem
    directory.mkdir()
    for name in ADAPTER:
        (directory / name).write_bytes(found[name])


def _child(asked: dict[str, Any], log: Path, asked_to_stop: Callable[[], Stop | None]) -> dict[str, Any]:
    """Work in a child process, because torch never runs in this one; returns its result."""
    command = [sys.executable, "-m", "workers.language.packaging", json.dumps(asked)]
    ending = launch.run_child(command, log, lambda _lines: None, asked_to_stop)
    if ending.result is not None:
        return ending.result
    if ending.stop is not None:
        raise Cancelled if ending.stop.why == "cancel" else PutBack("Its worker was stopped; another one goes on.")
    if ending.killed_by is not None:
        raise Failed(f"The process was killed ({ending.killed_by.name}), most likely because memory ran out.")
    raise Failed(ending.error)


def _only(directory: Path, name: str) -> None:
    """Leave nothing but the archive, which holds everything else."""
    for one in directory.iterdir():
        if one.name != name:
            shutil.rmtree(one)
