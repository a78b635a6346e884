"""Rows by way of Postgres's COPY: out of a query as Arrow columns, without a Python object of any value; and in."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
from sqlalchemy import Connection, Select
from sqlalchemy.orm import Session

PLANS = ("enable_hashjoin", "enable_mergejoin", "enable_sort", "jit")
"""Off, each answer's responses are looked up in its turn: half the time of hashing and sorting all of them, which
spills to disk, and the first row comes at once."""


def chunks(connection: Connection, query: Select[Any], rows: int) -> Generator[bytes, None, None]:
    """The query's rows as CSV without a head, so many at a time."""
    compiled = query.compile(connection.engine, compile_kwargs={"render_postcompile": True})
    driver: Any = connection.connection.driver_connection
    with _looking_up(connection):
        with (
            driver.cursor() as cursor,
            cursor.copy(f"copy ({compiled}) to stdout (format csv)", compiled.params) as copy,
        ):
            chunk = bytearray()
            for number, line in enumerate(copy, 1):
                chunk += line
                if number % rows == 0:
                    yield bytes(chunk)
                    chunk.clear()
        if chunk:
            yield bytes(chunk)


@contextmanager
def sending(session: Session, table: str, columns: Sequence[str]) -> Iterator[psycopg.Copy]:
    """What takes rows into a table on the session's own connection, as values or as the text that COPY reads."""
    session.flush()
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    statement = f"copy {table} ({', '.join(columns)}) from stdin"
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as stream:
        yield stream


@contextmanager
def _looking_up(connection: Connection) -> Iterator[None]:
    for name in PLANS:
        connection.exec_driver_sql(f"set local {name} = off")
    yield
    # Not after an error: then the transaction takes this back by itself, and takes no more commands.
    for name in PLANS:
        connection.exec_driver_sql(f"set local {name} to default")


def batch(chunk: bytes, schema: pa.Schema) -> pa.RecordBatch:
    """Some of `chunks` as columns of these types, in the order of the query's.

    The query gives lists as arrays of numbers or plain words, times as microseconds since 1970, structures as JSON.
    """
    sent = pa.schema([(item.name, _sent_as(item.type)) for item in schema])
    table = pyarrow.csv.read_csv(
        pa.BufferReader(chunk),
        read_options=pyarrow.csv.ReadOptions(column_names=sent.names, use_threads=False, block_size=len(chunk) + 1),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=sent,
            # Only what is empty and not quoted is null.
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    columns = [_read(whole(table[item.name]), item.type) for item in schema]
    return pa.record_batch(columns, schema=schema)


def whole(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _sent_as(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.int64()
    return pa.string() if pa.types.is_nested(kind) else kind


def _read(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_nested(kind):
        return column.cast(kind)
    if pa.types.is_primitive(kind.value_type) or pa.types.is_string(kind.value_type):
        return _list(column, kind)
    return _from_json(column, kind)


def _list(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Lists as Postgres writes arrays, `{1,2}`, where no value needs quoting."""
    there = pc.and_kleene(column.is_valid(), pc.not_equal(column, "{}")).fill_null(False)
    parts = pc.split_pattern(pc.utf8_trim(column.filter(there), "{}"), ",")
    values, counts = parts.flatten(), np.zeros(len(column), np.int64)
    counts[there.to_numpy(zero_copy_only=False)] = pc.list_value_length(parts).to_numpy()
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values.cast(kind.value_type), kind, mask=column.is_null())


def _from_json(column: pa.Array, kind: pa.DataType) -> pa.Array:
    given = column.drop_null()
    lines = pc.binary_join_element_wise('{"value":', given, "}", "")
    text = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines), "\n")[0].as_buffer()
    read = pyarrow.json.read_json(
        pa.BufferReader(text),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=pa.schema([("value", kind)]), unexpected_field_behavior="ignore"
        ),
    )
    values = whole(read["value"])
    if not column.null_count:
        return values
    there = column.is_valid()
    places = np.cumsum(there.to_numpy(zero_copy_only=False)) - 1
    return values.take(pc.if_else(there, pa.array(places), None))
