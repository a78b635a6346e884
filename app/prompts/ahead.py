"""Reading ahead: the next rows of a file are read and looked at while Postgres stores the last ones."""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from app.prompts.bodies import Entry
from app.prompts.formats import Source

BATCH = 5000
"""Rows of a file that are brought in, or told as wrong, in one transaction."""
BATCH_BYTES = 16 * 1024**2
"""Where its rows have more than so many bytes, a batch is shorter: two of them are in memory at once."""


TURNS = 0.0005
"""Seconds after which the thread that reads gives way to the one that talks with Postgres; Python's own 5 ms, at each
of the dozen replies to a batch, would leave Postgres idle for a quarter of the time."""


class Batch(NamedTuple):
    """How many rows were read, what `looked_at` made of them, and how much of the file was read by then (0 to 1)."""

    rows: int
    parts: list[Any]
    share: float


def batches(
    source: Source, rows: Iterator[Entry], looked_at: Callable[[Iterator[Entry]], Iterable[Any]]
) -> Generator[Batch, None, None]:
    """The rest of a source's rows in batches; the one behind the one in hand is being made already.

    `looked_at` takes every row it is given, one after the other, and keeps no more of it than it needs.
    """

    def read() -> Batch:
        count = size = 0

        def some() -> Iterator[Entry]:
            nonlocal count, size
            for entry in islice(rows, BATCH):
                count += 1
                size += entry.size or len(entry.raw)
                yield entry
                if size > BATCH_BYTES:
                    return

        parts = list(looked_at(some()))
        return Batch(count, parts, source.share())

    with _short_turns(), ThreadPoolExecutor(1) as beside:
        under_way = beside.submit(read)
        while (batch := under_way.result()).rows:
            under_way = beside.submit(read)
            yield batch


@contextmanager
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURNS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
