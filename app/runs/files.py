"""A run's metrics as files for other programs: CSV, and TensorBoard's event files.

The packages that write event files import torch or TensorFlow, which no web process shall; a scalar's record is small
enough to be written here (docs/decisions/0014-event-files-by-hand.md).
"""

import csv
import io
import struct
from collections.abc import Iterable, Sequence

from app.models import RunMetric

CASTAGNOLI = 0x82F63B78
"""The polynomial of CRC-32C (RFC 3720), bits reversed."""


def as_csv(rows: Sequence[RunMetric]) -> str:
    """One line for every step of every phase, one column for every figure; empty where a step has none."""
    names = sorted({name for row in rows for name in row.metrics})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["phase", "step", "at", *names])
    for row in rows:
        values = [row.metrics.get(name) for name in names]
        writer.writerow([row.phase, row.step, row.created_at.isoformat(), *("" if v is None else v for v in values)])
    return text.getvalue()


def as_events(rows: Sequence[RunMetric]) -> bytes:
    """One event file with a tag `phase/name` for every figure; each step keeps the time at which it was reported."""
    begun = rows[0].created_at.timestamp() if rows else 0.0
    records = [_record(_event(begun, 0, _field(3, b"brain.Event:2")))]
    for row in rows:
        scalars = (
            _field(1, _field(1, f"{row.phase}/{name}".encode()) + b"\x15" + struct.pack("<f", value))
            for name, value in row.metrics.items()
            if isinstance(value, int | float)
        )
        records.append(_record(_event(row.created_at.timestamp(), row.step, _field(5, b"".join(scalars)))))
    return b"".join(records)


def _event(wall_time: float, step: int, what: bytes) -> bytes:
    """tensorboard.Event as protobuf writes it: 1 wall_time (double), 2 step (varint), then what it holds."""
    return b"\x09" + struct.pack("<d", wall_time) + b"\x10" + _varint(step) + what


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _record(data: bytes) -> bytes:
    """A TFRecord: length, its checksum, the data, its checksum."""
    length = struct.pack("<Q", len(data))
    return length + _masked(crc32c(length)) + data + _masked(crc32c(data))


def _masked(crc: int) -> bytes:
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """The CRC-32C of the data."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _table() -> Iterable[int]:
    for crc in range(256):
        for _bit in range(8):
            crc = crc >> 1 ^ (CASTAGNOLI if crc & 1 else 0)
        yield crc


TABLE = tuple(_table())
