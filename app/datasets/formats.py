"""The files an export may be, written a batch at a time in constant memory."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from app.datasets import answer_table, hub
from app.datasets.answer_table import ROWS
from app.datasets.beside import in_order
from app.datasets.json_text import encoded, joined, lines_of
from app.errors import BadInput
from app.languages import N_, _

JSON_COLUMNS = frozenset({"criteria"})
"""Columns that hold JSON as text: an object in JSON Lines, text in Parquet, where every row has the same fields."""
FORMULA = r"^[=+\-@\t\r]"
"""What makes spreadsheets take a text for a formula (OWASP, "CSV injection")."""
COMPRESSIONS = {"gz": "gzip", "zst": "zstd"}
Batches = Iterable[pa.RecordBatch]
About = Callable[[], dict[str, Any]]


class Format(NamedTuple):
    name: str
    says: str
    suffix: str
    media_type: str
    write: Callable[[Path, pa.Schema, Batches, About], int]
    """Writes the batches to a new file and returns the number of rows; may ask for the manifest once they are read."""
    kind: str
    compressions: tuple[str, ...] = ("",)


def write_jsonl(path: Path, schema: pa.Schema, batches: Batches, about: About) -> int:
    """One JSON object a line, in UTF-8."""
    rows = 0
    with _opened(path) as file:
        for lines, n in in_order(_as_lines, batches, 2):
            file.write(lines)
            rows += n
    return rows


def _as_lines(batch: pa.RecordBatch) -> tuple[pa.Buffer | bytes, int]:
    return joined(lines_of(batch, JSON_COLUMNS)) if batch.num_rows else b"", batch.num_rows


def write_csv(path: Path, schema: pa.Schema, batches: Batches, about: About) -> int:
    """Comma-separated values with a head, in UTF-8; lists as JSON, and no text that a spreadsheet would run."""
    rows = 0
    plain = pa.schema([(item.name, pa.string()) for item in schema])
    with _opened(path) as file, pyarrow.csv.CSVWriter(file, plain) as writer:
        for batch in batches:
            writer.write_batch(pa.record_batch([_cells(column) for column in batch.columns], schema=plain))
            rows += batch.num_rows
    return rows


def write_parquet(path: Path, schema: pa.Schema, batches: Batches, about: About) -> int:
    """Parquet with the layout's own schema, whatever the rows hold; zstd."""
    with answer_table.writer(path, schema) as writer:

        def put(batch: pa.RecordBatch) -> int:
            writer.write_batch(batch, row_group_size=ROWS)
            return int(batch.num_rows)

        return sum(in_order(put, batches, 1))


FORMATS = {
    "jsonl": Format(
        "JSON Lines",
        N_("Text, one object a line; opens everywhere."),
        "jsonl",
        "application/jsonl",
        write_jsonl,
        "jsonl",
        ("", "gz", "zst"),
    ),
    "parquet": Format(
        "Parquet",
        N_("Columns with fixed types, compressed; smaller and faster to load."),
        "parquet",
        "application/vnd.apache.parquet",
        write_parquet,
        "parquet",
    ),
    "csv": Format(
        "CSV",
        N_("For spreadsheets; conversations are JSON in a cell, and what looks like a formula begins with '."),
        "csv",
        "text/csv; charset=utf-8",
        write_csv,
        "csv",
        ("", "gz", "zst"),
    ),
    "datasets": Format(
        N_("Directory for datasets"),
        N_("Parquet in two splits, train and held-out test, with a dataset card; as one .tar, ready for a hub."),
        "tar",
        "application/x-tar",
        hub.write,
        "datasets",
    ),
}


def format_of(name: str) -> Format:
    """The format of this name, such as `parquet` or `jsonl.gz`; raises BadInput with a sentence for others."""
    base, _dot, compression = name.partition(".")
    found = FORMATS.get(base)
    if found is None or compression not in found.compressions or name.endswith("."):
        raise BadInput(
            _("There is no format {format!r}. Choose one of {known}.").format(format=name, known=", ".join(names()))
        )
    if not compression:
        return found
    media_type = {"gz": "application/gzip", "zst": "application/zstd"}[compression]
    return found._replace(suffix=f"{found.suffix}.{compression}", media_type=media_type)


def names() -> list[str]:
    """Every format with every compression it can have."""
    return [
        f"{name}.{compression}" if compression else name
        for name, form in FORMATS.items()
        for compression in form.compressions
    ]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A new file to write to, compressed as its name says."""
    compression = COMPRESSIONS.get(path.suffix[1:])
    with pa.OSFile(str(path), "wb") as file:
        if compression is None:
            yield file
        else:
            with pa.CompressedOutputStream(file, compression) as stream:
                yield stream


def _cells(column: pa.Array) -> pa.Array:
    """Each value as the text of a cell; null as an empty one."""
    if not pa.types.is_string(column.type):
        text = pc.utf8_trim(encoded(column), '"')
        return pc.if_else(column.is_valid(), text, pa.scalar(None, pa.string()))
    return pc.if_else(pc.match_substring_regex(column, FORMULA), pc.binary_join_element_wise("'", column, ""), column)


def features(schema: pa.Schema, format: str) -> dict[str, Any]:
    """The columns' types as `datasets.Features.from_dict` reads them, so that nothing has to be guessed."""
    kind = format_of(format).kind
    return {item.name: _feature(item.type, item.name, kind) for item in schema}


def _feature(kind: pa.DataType, name: str, format: str) -> dict[str, Any]:
    if format == "csv" and pa.types.is_nested(kind):
        return {"dtype": "string", "_type": "Value"}
    if name in JSON_COLUMNS and format == "jsonl":
        return {"_type": "Json"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type, "", format), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type, "", format) for field in kind}
    if pa.types.is_timestamp(kind):
        return {"dtype": f"timestamp[{kind.unit}, tz={kind.tz}]", "_type": "Value"}
    return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}
