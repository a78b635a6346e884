"""The files an export may be: JSON Lines and Parquet, written a batch at a time."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from app.datasets import answer_table
from app.datasets.answer_table import ROWS
from app.datasets.json_text import lines_of

JSON_COLUMNS = frozenset({"criteria"})
"""Columns that hold JSON as text: an object in JSON Lines, text in Parquet, where every row has the same fields."""


class Format(NamedTuple):
    suffix: str
    media_type: str
    write: Callable[[Path, pa.Schema, Iterable[pa.RecordBatch]], int]
    """Writes the batches to a new file and returns the number of rows."""


def write_jsonl(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """One JSON object a line, in UTF-8."""
    rows = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for batch in batches:
            file.writelines(f"{line}\n" for line in lines_of(batch, JSON_COLUMNS))
            rows += batch.num_rows
    return rows


def write_parquet(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Parquet with the layout's own schema, whatever the rows hold; zstd."""
    rows = 0
    with answer_table.writer(path, schema) as writer:
        for batch in batches:
            writer.write_batch(batch, row_group_size=ROWS)
            rows += batch.num_rows
    return rows


FORMATS = {
    "jsonl": Format("jsonl", "application/jsonl", write_jsonl),
    "parquet": Format("parquet", "application/vnd.apache.parquet", write_parquet),
}


def features(schema: pa.Schema, format: str) -> dict[str, Any]:
    """The columns' types as `datasets.Features.from_dict` reads them, so that nothing has to be guessed."""
    return {item.name: _feature(item.type, item.name, format) for item in schema}


def _feature(kind: pa.DataType, name: str, format: str) -> dict[str, Any]:
    if name in JSON_COLUMNS and format == "jsonl":
        return {"_type": "Json"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type, "", format), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type, "", format) for field in kind}
    if pa.types.is_timestamp(kind):
        return {"dtype": f"timestamp[{kind.unit}, tz={kind.tz}]", "_type": "Value"}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}
