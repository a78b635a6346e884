"""Reading ahead: the next rows of a file are read and looked at while Postgres stores the last ones."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

from app.prompts.bodies import Entry
from app.prompts.formats import Source

BATCH = 5000
"""Rows of a file that are brought in, or told as wrong, in one transaction."""
BATCH_BYTES = 16 * 1024**2
"""Where its rows have more than so many bytes, a batch is shorter: two of them are in memory at once."""


class Batch(NamedTuple):
    """Rows that were read, what `looked_at` made of them, and how much of the file was read by then (0 to 1)."""

    rows: list[Entry]
    parts: list[Any]
    share: float


def batches(
    source: Source, rows: Iterator[Entry], looked_at: Callable[[list[Entry]], Iterable[Any]]
) -> Generator[Batch, None, None]:
    """The rest of a source's rows in batches; the one behind the one in hand is being made already."""

    def read() -> Batch:
        batch = list(_some(rows))
        return Batch(batch, list(looked_at(batch)), source.share())

    with ThreadPoolExecutor(1) as beside:
        under_way = beside.submit(read)
        while (batch := under_way.result()).rows:
            under_way = beside.submit(read)
            yield batch


def _some(rows: Iterator[Entry]) -> Iterator[Entry]:
    size = 0
    for entry in islice(rows, BATCH):
        yield entry
        size += entry.size or len(entry.raw)
        if size > BATCH_BYTES:
            return
