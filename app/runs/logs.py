"""A run's log as people read it: searched line by line, never taken into memory as a whole."""

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from markupsafe import Markup

from app.datasets import artifacts
from app.models import Run
from app.settings import settings

SHOWN = 1000
"""So many lines are shown, the newest; the file holds all."""
LONGEST = 2000
"""Characters of a line that are shown."""


@dataclass(frozen=True)
class Found:
    """The lines of a log in which the words occur; `lines` holds number and text, the words marked."""

    lines: list[tuple[int, Markup]]
    matching: int
    total: int


def address_of(run_id: int) -> str:
    """Where a run's log lies in the artefact store."""
    return f"{settings.artifacts}/runs/{run_id}/log.txt"


def search(run: Run, words: str = "") -> Found | None:
    """The newest lines in which `words` occur, upper and lower case alike; None where there is no log."""
    try:
        with artifacts.opened(address_of(run.id)) as file:
            return _search(file, words)
    except FileNotFoundError:
        return None


def whole(run: Run) -> Iterator[bytes]:
    """Everything the log holds, in pieces; nothing where there is none."""
    with contextlib.suppress(FileNotFoundError), artifacts.opened(address_of(run.id)) as file:
        while piece := file.read(artifacts.CHUNK):
            yield piece


def _search(file: IO[bytes], words: str) -> Found:
    newest: deque[tuple[int, str]] = deque(maxlen=SHOWN)
    matching = total = 0
    sought = words.lower()
    for raw in file:
        total += 1
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if sought in line.lower():
            matching += 1
            newest.append((total, line))
    return Found([(number, _marked(line[:LONGEST], words)) for number, line in newest], matching, total)


def _marked(line: str, words: str) -> Markup:
    """The line as HTML with the words marked, whatever it holds."""
    if not words:
        return Markup.escape(line)
    marked, lowered, sought, at = Markup(), line.lower(), words.lower(), 0
    # Where lower case is longer than the line itself (İ), positions would not fit: such a line stays unmarked.
    if len(lowered) != len(line):
        return Markup.escape(line)
    while (found := lowered.find(sought, at)) >= 0:
        marked += Markup("{}<mark>{}</mark>").format(line[at:found], line[found : found + len(sought)])
        at = found + len(sought)
    return marked + Markup.escape(line[at:])
