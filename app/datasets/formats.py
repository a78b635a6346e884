"""The files an export may be: JSON Lines and Parquet, written a batch at a time."""

import json
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from app.datasets.answer_table import ROWS

# Characters that JSON takes as they are, but at which Python's `splitlines` and some readers end a line.
LINE_ENDS = re.compile("[\x85\u2028\u2029]")


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
            file.writelines(line + "\n" for line in json_lines(batch))
            rows += batch.num_rows
    return rows


def json_lines(batch: pa.RecordBatch) -> list[str]:
    """The rows as JSON: times in ISO 8601, criteria as an object."""
    columns = [_plain(name, batch[name].to_pylist()) for name in batch.schema.names]
    names = batch.schema.names
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode
    lines = (encode(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))
    return [LINE_ENDS.sub(_escaped, line) for line in lines]


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def write_parquet(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Parquet with the layout's own schema, whatever the rows hold; zstd."""
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
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
    if name == "criteria" and format == "jsonl":
        return {"_type": "Json"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type, "", format), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type, "", format) for field in kind}
    if pa.types.is_timestamp(kind):
        return {"dtype": f"timestamp[{kind.unit}, tz={kind.tz}]", "_type": "Value"}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def _plain(name: str, values: list[Any]) -> list[Any]:
    if name == "criteria":
        return [json.loads(value) for value in values]
    return [value.isoformat() if isinstance(value, datetime) else value for value in values]
