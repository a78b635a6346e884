"""Tables: CSV in its many kinds, row by row, each row an object named by the columns."""

import csv
import json
from collections.abc import Iterator
from datetime import date, datetime
from typing import IO

from app.errors import BadInput
from app.languages import _
from app.prompts.bodies import LONGEST, Entry, raw_lines, too_long

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SNIFFED = 20
"""Rows that must agree about a separator."""
WIDEST = 1000
"""Columns that a table may have."""
ENDLESS = "row too long"

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


def as_line(row: object) -> bytes:
    """A row as a line of JSON, for the list of wrong ones."""
    return json.dumps(row, ensure_ascii=False, default=_plain).encode(errors="replace")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
