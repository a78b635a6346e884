"""JSON made a column at a time says the same as JSON made a row at a time."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from app.datasets.json_text import encoded, lines_of
from app.datasets.raw import SCHEMA as RAW

ODD = ["", '"', "\\", "\\n", '\\"', "a\nb\r\tc", "한국어 \U0001f642", "\u2028\u2029\x85", "\x7f"]


def back(array: pa.Array) -> list[Any]:
    return [json.loads(text) for text in encoded(array).to_pylist()]


@pytest.mark.parametrize("values", [ODD, [*ODD, *map(chr, range(1, 0x30)), None]])
def test_every_character_survives_and_no_line_breaks(values: list[str | None]) -> None:
    array = pa.array(values, pa.string())
    assert back(array) == values
    assert all(len(text.splitlines()) == 1 for text in encoded(array).to_pylist())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.bool_(), [True, False, None]),
        (pa.int8(), [-128, 127, None]),
        (pa.int32(), [0, -1, 2**31 - 1, None]),
        (pa.float64(), [0.0, -1.5, 0.1 + 0.2, 1e300, 5e-324, None]),
        (pa.list_(pa.int32()), [[], [1], [1, 2], None, [None, 3]]),
        (pa.list_(pa.string()), [None, ['a"b'], []]),
        (
            pa.struct([("a", pa.string()), ("b", pa.list_(pa.bool_()))]),
            [{"a": "x", "b": [True]}, None, {"a": None, "b": []}],
        ),
        (pa.list_(pa.struct([("a", pa.int8())])), [[{"a": 1}, None], [], None]),
        (pa.string(), []),
    ],
)
def test_values_of_every_kind_come_back(kind: pa.DataType, values: list[Any]) -> None:
    assert back(pa.array(values, kind)) == values
    assert back(pa.array([*values, *values], kind).slice(1)) == [*values, *values][1:]


def test_what_is_no_number_becomes_null() -> None:
    assert back(pa.array([math.nan, math.inf, -math.inf, 1.0])) == [None, None, None, 1.0]


def test_a_whole_float_stays_a_float() -> None:
    assert encoded(pa.array([6.0, -0.0, 1e20, None])).to_pylist() == ["6.0", "-0.0", "1e+20", "null"]


def test_times_are_iso_8601_in_utc() -> None:
    moments = [datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC), None]
    texts = back(pa.array(moments, pa.timestamp("us", tz="UTC")))
    assert texts[0] == "2026-03-01T12:30:15.123456+00:00"
    assert [text and datetime.fromisoformat(text) for text in texts] == moments


def test_rows_are_objects_and_json_columns_stay_json() -> None:
    batch = pa.record_batch({"a": pa.array(["x", None]), "criteria": pa.array(['{"b": [1]}', None])})
    assert lines_of(batch, frozenset({"criteria"})).to_pylist() == [
        '{"a":"x","criteria":{"b": [1]}}',
        '{"a":null,"criteria":null}',
    ]


def test_no_rows_make_no_lines() -> None:
    assert len(lines_of(pa.RecordBatch.from_pylist([], RAW))) == 0


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(TypeError, match="binary"):
        encoded(pa.array([b"x"]))
