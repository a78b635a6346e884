"""What a file is, told by its content and never by its name, and its rows one after the other."""

import io
from collections.abc import Callable, Iterator
from typing import IO

from app.errors import BadInput
from app.languages import N_, _
from app.prompts import bodies, parquet_files, tables
from app.prompts.bodies import Entry
from app.prompts.compressed import Expanded, kind_of
from app.prompts.layouts.columns import USUAL_NAMES

FORMATS = {
    "text": N_("Text, one prompt a line"),
    "csv": N_("CSV: a table with a line of names"),
    "json": N_("JSON: one list"),
    "jsonl": N_("JSON Lines: one object a line"),
    "parquet": N_("Parquet"),
}
UNPACK = N_("This is a packed archive ({kind}). Unpack it, and send the file inside.")
SAVE_AS = N_("This is a {kind} file. Save it as CSV, JSON Lines or Parquet.")
KNOWN_BINARIES = {
    b"PK": ("zip, or a spreadsheet: then save that as CSV", UNPACK),
    b"7z\xbc\xaf": ("7z", UNPACK),
    b"Rar!": ("rar", UNPACK),
    b"\xfd7zXZ": ("xz", UNPACK),
    b"BZh": ("bzip2", UNPACK),
    b"\x80": ("pickle", N_("This is a {kind} file, which could run code. Write it as Parquet or JSON Lines.")),
    b"ARROW1": ("Arrow or Feather", SAVE_AS),
    b"ORC": ("ORC", SAVE_AS),
    b"SQLite": ("SQLite", SAVE_AS),
    b"%PDF-": ("PDF", SAVE_AS),
    b"\xd0\xcf\x11\xe0": ("Office", SAVE_AS),
}
HEAD = 64 * 1024


class Source:
    """A file recognised: its `format`, how it is `compression`ed ("" where not), and its rows.

    Raises BadInput with a sentence where it is nothing that can be read.
    """

    def __init__(self, file: IO[bytes], format: str = "") -> None:
        if format and format not in FORMATS:
            raise BadInput(
                _("There is no format {format!r}. Choose one of {known}.").format(
                    format=format, known=", ".join(FORMATS)
                )
            )
        self.raw = file
        self.size = file.seek(0, 2)
        file.seek(0)
        self.compression = kind_of(file.read(4))
        self.file: IO[bytes] = file
        if self.compression:
            self.file = io.BufferedReader(Expanded(file, self.compression), HEAD)
        self.file.seek(0)
        head = self.file.read(HEAD)
        _refuse_binaries(head)
        self.separator = ""
        self.format = self._recognised(head, format)
        self.total: int | None = parquet_files.opened(file).metadata.num_rows if self.format == "parquet" else None
        """How many rows there are, where the file says so."""
        self.read = 0

    def _recognised(self, head: bytes, wanted: str) -> str:
        if head.startswith(b"PAR1"):
            if self.compression:
                raise BadInput(_("This is a Parquet file inside a compressed one. Send the Parquet file itself."))
            return "parquet"
        if wanted == "parquet":
            raise BadInput(_("This is no Parquet file, whatever its name says."))
        begin = bodies.head_of(self.file)
        text = head.decode(errors="replace")
        if wanted in ("", "csv"):
            looks = bodies.looks_like_json(begin) and not wanted
            separator = None if looks else tables.separator_of(text, USUAL_NAMES)
            if separator or wanted:
                self.separator = separator or ","
                return "csv"
            if not looks:
                return "text"
        if wanted == "text":
            return "text"
        return "json" if begin.startswith("[") else "jsonl"

    def entries(self) -> Iterator[Entry]:
        """Every row from the first on, as often as asked for."""
        if self.format == "parquet":
            return self._counted(parquet_files.rows(self.raw))
        bodies.head_of(self.file)
        if self.format == "csv":
            return tables.csv_rows(self.file, self.separator)
        return bodies.plain_lines(self.file) if self.format == "text" else bodies.entries(self.file)

    def _counted(self, rows: Iterator[Entry]) -> Iterator[Entry]:
        for row in rows:
            self.read = row.line
            yield row

    def share(self) -> float:
        """How much of the file was read, 0 to 1."""
        if self.total:
            return min(1.0, self.read / self.total)
        return min(1.0, self.raw.tell() / self.size) if self.size else 1.0

    def check_whole(self, go_on: Callable[[], None]) -> None:
        """Expand a compressed file once without using it, so that a damaged one is refused before anything is stored.

        `go_on` is asked now and then and raises to stop.
        """
        if self.compression:
            self.file.seek(0)
            while self.file.read(bodies.HELD):
                go_on()

    def header(self) -> bytes:
        """The line of names of a table in CSV, which its wrong lines need above them."""
        if self.format != "csv":
            return b""
        bodies.head_of(self.file)
        return self.file.readline(bodies.LONGEST).strip()


def _refuse_binaries(head: bytes) -> None:
    for mark, (kind, sentence) in KNOWN_BINARIES.items():
        if head.startswith(mark) and (len(mark) > 2 or not _is_text(head)):
            raise BadInput(_(sentence).format(kind=kind))
    if b"\x00" in head and not head.startswith((b"PAR1", b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(
            _("This has NUL bytes, so it is no text in UTF-8. Send text, CSV, JSON, JSON Lines or Parquet in UTF-8.")
        )


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as problem:
        # A character may be cut off where the head ends.
        return problem.start > len(head) - 4
    return b"\x00" not in head and not any(byte < 9 for byte in head[:512])
