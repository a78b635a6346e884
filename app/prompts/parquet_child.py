"""The process that reads a Parquet file: what a file of a few bytes may unfold to ends this one and not the machine.

Reads the file on standard input. Writes frames to standard output: a ROW as a pickle, TOO_LONG for one that is, and at
last END with what went wrong: nothing, a sentence of Arrow's, or MEMORY.
"""

import pickle
import struct
import sys
from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

MEMORY_MOST = 1536 * 1024**2
"""Bytes of addresses, of which the libraries take 350 MB. Only Linux keeps to it."""
ROWS = 128
"""Rows in memory at once."""
LARGE = 64 * 1024**2
"""Bytes of a batch beyond which its rows become Python's one by one."""
LONGEST_ROW = 8 * 1024**2
"""Bytes of a row as it is sent; more than a text may have, because columns that nobody asks for count too."""
ROW, TOO_LONG, END = b"R", b"L", b"E"
FRAME = struct.Struct("<cI")
"""What a frame is, and how many bytes of it follow."""
MEMORY = b"MEMORY"


def read(file: IO[bytes], out: IO[bytes]) -> None:
    try:
        for row in _rows(file):
            sent = pickle.dumps(row, protocol=5)
            _send(out, *((ROW, sent) if len(sent) <= LONGEST_ROW else (TOO_LONG, b"")))
        why = b""
    except MemoryError:  # Arrow's own is one of these
        why = MEMORY
    except (pa.ArrowException, OSError, ValueError) as problem:
        why = (str(problem).partition("\n")[0][:200] or type(problem).__name__).encode()
    _send(out, END, why)
    out.flush()


def _rows(file: IO[bytes]) -> Iterator[object]:
    # Page by page, whatever the size of a row group.
    table = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
    for batch in table.iter_batches(batch_size=ROWS, use_threads=False):
        step = 1 if batch.nbytes > LARGE else ROWS
        for start in range(0, batch.num_rows, step):
            yield from batch.slice(start, step).to_pylist()


def _send(out: IO[bytes], kind: bytes, what: bytes) -> None:
    out.write(FRAME.pack(kind, len(what)))
    out.write(what)


if __name__ == "__main__":
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MOST, MEMORY_MOST))
    read(sys.stdin.buffer, sys.stdout.buffer)
