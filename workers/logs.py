"""A run's log: written on this machine while its training child works, and kept whole beside the run's artefacts.

It holds what the child wrote to standard error, and a line for each of its reports.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy.orm import Session

from app.models import FINISHED, Run, now
from app.runs import facts
from app.runs.logs import address_of
from app.settings import settings
from workers import artifacts

TAIL = 4000  # bytes of a failed child's log that its page shows at once
COPY_EVERY = 5.0  # s between two copies while the run works
LARGE = 4_000_000  # bytes from which on a log is copied only when the child has ended
DAYS = 7
"""How long this machine keeps a log of its own after the run ended; the copy beside the artefacts stays."""


def _folder() -> Path:
    return settings.data_dir / "logs" / "runs"


class RunLog:
    """The log of one attempt; `file` is where the child writes too. At the end of a `with` it is copied."""

    def __init__(self, run_id: int) -> None:
        self.file = _folder() / f"{run_id}.log"
        self.run_id = run_id
        self._copied = 0.0
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if not self.file.exists() and (earlier := _earlier(run_id)):
            self.file.write_bytes(earlier)  # another machine wrote the beginning
        here = facts.machine()
        where = f"{here['name']}, {here['system']}, {here['cores']} cores"
        self.write(f"{now():%Y-%m-%d %H:%M:%S} Pairloop {facts.code()} takes the run up on {where}.")
        self._begun = self.file.stat().st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.copy()

    def write(self, *lines: str) -> None:
        """Add lines."""
        with self.file.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)

    def report(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Add a line for every report, and copy the log where the last copy is some seconds old."""
        self.write(*(_as_line(line) for line in lines if line["type"] == "metrics"))
        if time.monotonic() - self._copied > COPY_EVERY and self.file.stat().st_size < LARGE:
            self.copy()

    def copy(self) -> None:
        """Put the log beside the run's artefacts, where every web process can read it."""
        self._copied = time.monotonic()
        artifacts.write_file(address_of(self.run_id), self.file.read_bytes())

    def tail(self) -> str:
        """The end of what was written since this attempt began, fit for a text column."""
        with self.file.open("rb") as file:
            file.seek(max(self._begun, self.file.stat().st_size - TAIL))
            return file.read().decode(errors="replace").replace("\x00", "")


def forget_old(session: Session) -> None:
    """Remove this machine's logs of runs that ended long ago; one that was never copied is copied first."""
    for file in _folder().glob("*.log"):
        run = session.get(Run, int(file.stem)) if file.stem.isdecimal() else None
        if run is not None and not _ended_long_ago(run):
            continue
        if run is not None and not _earlier(run.id):
            artifacts.write_file(address_of(run.id), file.read_bytes())
        file.unlink(missing_ok=True)


def _ended_long_ago(run: Run) -> bool:
    ended = run.finished_at if run.status in FINISHED else None
    return ended is not None and ended < now() - timedelta(days=DAYS)


def _earlier(run_id: int) -> bytes:
    try:
        return artifacts.read_file(address_of(run_id))
    except artifacts.ArtifactDamaged:
        return b""


def _as_line(line: Mapping[str, Any]) -> str:
    figures = " ".join(f"{name}={_short(value)}" for name, value in (line.get("metrics") or {}).items())
    said = f"{str(line.get('at', ''))[:19].replace('T', ' ')} {line['phase']} {line['step']}/{line['total']}"
    return " ".join(part for part in (said.strip(), figures, str(line.get("text") or "")) if part)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "missing"
