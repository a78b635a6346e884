"""Tables: CSV in its many kinds and Parquet, row by row, each row an object named by the columns."""

import csv
import json
import struct
from collections.abc import Iterator
from datetime import date, datetime
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from app.errors import BadInput
from app.languages import _
from app.prompts.bodies import LONGEST, Entry, raw_lines, too_long

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SNIFFED = 20
"""Rows that must agree about a separator."""
WIDEST = 1000
"""Columns that a table may have."""
FOOTER_MOST = 16 * 1024**2
"""Bytes of a Parquet file's description of itself."""
ROWS = 128
"""Rows of Parquet in memory at once; a value may be as long as a text may be."""
PARQUET_RATIO = 1000
"""How many times larger than the file a Parquet file may say its values are; dictionaries reach a few hundred."""
ENDLESS = "row too long"
FREE = 256 * 1024**2

# The default of 128 kB is shorter than a prompt may be.
csv.field_size_limit(LONGEST)


def separator_of(text: str, known: frozenset[str]) -> str | None:
    """The separator of a table that begins like `text`, None where this is no table.

    A table has a header of short names, and most of its first rows have as many fields. One of the names must be
    `known`, because prompts, one a line, may well have a comma each; a tab in every line is enough.
    """
    text = text.removeprefix("\ufeff")
    found = [separator for separator in SEPARATORS if _fits(text, separator, known)]
    if found:
        return max(found, key=lambda separator: len(next(csv.reader(text.splitlines(), delimiter=separator))))
    alone = text.split("\n", 1)[0].strip().strip('"')
    return "," if alone.lower() in known and "\n" in text.strip() else None


def _fits(text: str, separator: str, known: frozenset[str]) -> bool:
    # The last line may be cut off within a field.
    whole = text[: text.rfind("\n") + 1] if len(text) > 1000 else text
    rows = []
    try:
        for row in csv.reader(whole.splitlines(keepends=True), delimiter=separator):
            if row:
                rows.append(row)
            if len(rows) > SNIFFED:
                break
    except csv.Error:
        return False
    if len(rows) < 2 or len(rows[0]) < 2:
        return False
    header = [name.strip().lower() for name in rows[0]]
    plain = all(len(name) <= 60 for name in header)
    alike = sum(len(row) == len(header) for row in rows[1:])
    if known.isdisjoint(header):
        return plain and separator == "\t" and alike == len(rows) - 1
    return plain and 2 * alike >= len(rows) - 1


def csv_rows(file: IO[bytes], separator: str) -> Iterator[Entry]:
    """The rows below the header, each with the number of its first line; raises BadInput where the header is none."""
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        # Tables with numbered rows often leave the first name empty.
        header = [name.strip() or f"column {n}" for n, name in enumerate(next(reader, []), 1)]
    except csv.Error as problem:
        raise BadInput(_("The first line of this table cannot be read: {why}.").format(why=problem)) from problem
    if not header or len(set(header)) != len(header) or len(header) > WIDEST:
        raise BadInput(_("The first line of a table must name each column, every name once."))
    while True:
        lines.begin()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            yield Entry(lines.number, None, lines.raw()[:LONGEST], _not_csv(problem))
            if _is_open(problem):
                return
            reader = csv.reader(lines, delimiter=separator, strict=True)
            continue
        if why := lines.why or _width(row, header):
            yield Entry(lines.number, None, lines.raw(), why)
        elif row:
            yield Entry(lines.number, dict(zip(header, row, strict=False)), lines.raw())


class _Lines:
    """The lines of a file as text, remembering those that the row under way is made of and what is wrong with them."""

    def __init__(self, file: IO[bytes]) -> None:
        self.source = raw_lines(file, blank=True)
        self.number = 1
        self.begin()

    def begin(self) -> None:
        self.first = True
        self.pieces: list[bytes] = []
        self.size = 0
        self.why = ""

    def raw(self) -> bytes:
        return b"\n".join(self.pieces)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        number, raw, whole = next(self.source)
        if self.first:
            self.number, self.first = number, False
        self.pieces.append(raw if whole else raw[:1000])
        self.size += len(raw)
        if self.size > 2 * LONGEST:
            raise csv.Error(ENDLESS)
        if not whole:
            self.why = too_long(number, raw).why
            return "\n"
        try:
            return raw.decode() + "\n"
        except UnicodeDecodeError:
            self.why = _("This is not UTF-8. Save it as UTF-8.")
            return raw.decode(errors="replace") + "\n"


def _width(row: list[str], header: list[str]) -> str:
    if len(row) <= len(header):
        return ""
    return _("This row has {n} fields, but the table has {columns} columns.").format(n=len(row), columns=len(header))


def _is_open(problem: csv.Error) -> bool:
    return any(words in str(problem) for words in ("unexpected end", "field limit", ENDLESS))


def _not_csv(problem: csv.Error) -> str:
    if _is_open(problem):
        return _("A quotation mark that is opened here is not closed, so nothing from here on could be read.")
    return _("This row's quotation marks do not fit together: {why}.").format(why=problem)


def opened_parquet(file: IO[bytes]) -> pq.ParquetFile:
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
        # Page by page, whatever the size of a row group.
        found = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20, **limits)
        about = found.metadata
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        sizes = [group.total_byte_size for group in groups]
        plausible = min(sizes, default=0) >= 0 and sum(group.num_rows for group in groups) == about.num_rows
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise BadInput(_("This Parquet file cannot be read: {why}").format(why=_first_line(problem))) from problem
    if about.num_columns > WIDEST or len(found.schema_arrow) > WIDEST:
        raise BadInput(_("This table has more than {most:,} columns.").format(most=WIDEST))
    if not plausible or sum(sizes) > max(FREE, PARQUET_RATIO * size):
        raise BadInput(_("This Parquet file says of itself what cannot be true. Write it again."))
    return found


def parquet_rows(file: IO[bytes]) -> Iterator[Entry]:
    """The rows of a Parquet file, numbered from 1; what cannot be read ends it with a sentence."""
    table = opened_parquet(file)
    number = 0
    try:
        for batch in table.iter_batches(batch_size=ROWS, use_threads=False):
            size = batch.nbytes // max(1, batch.num_rows)
            for row in batch.to_pylist():
                number += 1
                # Only wrong rows are ever written out; their text is made when somebody asks for it (`as_line`).
                yield Entry(number, row, b"", size=size)
    except (pa.ArrowException, OSError, ValueError) as problem:
        why = _("Nothing from here on could be read: {why}").format(why=_first_line(problem))
        yield Entry(number + 1, None, b"", why)


def as_line(row: object) -> bytes:
    """A row as a line of JSON, for the list of wrong ones."""
    return json.dumps(row, ensure_ascii=False, default=_plain).encode(errors="replace")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _first_line(problem: Exception) -> str:
    return f"{str(problem).splitlines()[0] if str(problem) else type(problem).__name__:.200}"
