"""Parquet, row by row, each row an object named by the columns."""

import contextlib
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from app.errors import BadInput
from app.languages import _
from app.prompts import parquet_child
from app.prompts.bodies import CHUNK, Entry, too_long
from app.prompts.parquet_child import END, FRAME, MEMORY, ROW
from app.prompts.tables import WIDEST

FOOTER_MOST = 16 * 1024**2
"""Bytes of a Parquet file's description of itself."""
RATIO = 1000
"""How many times larger than the file it may say its values are; dictionaries reach a few hundred."""
FREE = 256 * 1024**2


def opened(file: IO[bytes]) -> pq.ParquetFile:
    """A Parquet file whose description of itself makes sense; raises BadInput with a sentence otherwise."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = struct.unpack("<I", tail[:4])[0] if len(tail) == 8 else 0
    if tail[4:] != b"PAR1" or not 0 < length <= min(size - 12, FOOTER_MOST):
        raise BadInput(_("This begins like a Parquet file, but its end is none. Write it again."))
    file.seek(0)
    limits = {"thrift_string_size_limit": FOOTER_MOST, "thrift_container_size_limit": 1_000_000}
    try:
        found = pq.ParquetFile(file, **limits)
        about = found.metadata
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        sizes = [group.total_byte_size for group in groups]
        plausible = min(sizes, default=0) >= 0 and sum(group.num_rows for group in groups) == about.num_rows
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise BadInput(_("This Parquet file cannot be read: {why}").format(why=_first_line(problem))) from problem
    if about.num_columns > WIDEST or len(found.schema_arrow) > WIDEST:
        raise BadInput(_("This table has more than {most:,} columns.").format(most=WIDEST))
    if not plausible or sum(sizes) > max(FREE, RATIO * size):
        raise BadInput(_("This Parquet file says of itself what cannot be true. Write it again."))
    return found


def rows(file: IO[bytes]) -> Iterator[Entry]:
    """The rows of a Parquet file, numbered from 1; what cannot be read ends it with a sentence.

    Another process with a limit of memory reads it, because a file of a thousand bytes may unfold to gigabytes.
    """
    opened(file)
    number = 1
    with _on_disk(file) as known, _reader(known) as frames:
        while (frame := _next(frames))[0] != END:
            kind, sent = frame
            # Only wrong rows are ever written out; their text is made when somebody asks for it (`as_line`).
            yield Entry(number, pickle.loads(sent), b"", size=len(sent)) if kind == ROW else too_long(number, b"")
            number += 1
    if why := frame[1]:
        yield Entry(number, None, b"", _no_further(why))


def _no_further(why: bytes) -> str:
    if why == MEMORY:
        return _("Nothing from here on could be read: it takes more memory than a file may.")
    return _("Nothing from here on could be read: {why}").format(why=why.decode(errors="replace"))


@contextlib.contextmanager
def _on_disk(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The file from its start, or a copy of it where another process could not read it."""
    file.seek(0)
    try:
        file.fileno()
    except OSError:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy, CHUNK)
            copy.seek(0)
            yield copy
    else:
        yield file


@contextlib.contextmanager
def _reader(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """What the process says that reads the file; it ends with the block, however far it is."""
    modest = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", parquet_child.__name__]
    with subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, env={**os.environ, **modest}) as child:
        assert child.stdout is not None
        try:
            yield child.stdout
        finally:
            child.kill()


def _next(frames: IO[bytes]) -> tuple[bytes, bytes]:
    """The next frame; where the process ended without one, memory is why."""
    head = frames.read(FRAME.size)
    if len(head) < FRAME.size:
        return END, MEMORY
    kind, size = FRAME.unpack(head)
    return kind, frames.read(size)


def _first_line(problem: Exception) -> str:
    return f"{str(problem).splitlines()[0] if str(problem) else type(problem).__name__:.200}"
