"""Parquet is read in bounded memory, whatever a file says of itself and whatever its few bytes unfold to."""

import io
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.prompts import parquet_files
from app.prompts.formats import Source

TOO_MUCH = "Nothing from here on could be read: it takes more memory than a file may."
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to the limit")


def written(column: pa.Array, **how: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"prompt": column}), out, compression="zstd", **how)
    return out.getvalue()


def repeated(text: str, times: int) -> pa.Array:
    """A text so many times, written once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), pa.array([text]))


def read(data: bytes) -> list[tuple[int, str]]:
    """The number of every row with the sentence about it."""
    return [(row.line, row.why) for row in parquet_files.rows(io.BytesIO(data))]


@on_linux
def test_a_few_bytes_that_unfold_to_gigabytes_get_a_sentence() -> None:
    row = written(pa.ListArray.from_arrays(pa.array([0, 100_000], pa.int32()), repeated("y" * 100_000, 100_000)))
    assert len(row) < 1000
    assert read(row) == [(1, TOO_MUCH)]


@on_linux
def test_a_page_that_lies_about_its_size_gets_a_sentence() -> None:
    honest = written(pa.array(["z" * 140_000_000]), use_dictionary=False)
    page = 140_000_000 + 10  # with the lengths and levels before the text
    assert honest.count(thrift(page)) == 1
    assert read(honest.replace(thrift(page), thrift(2**31 - 2))) == [(1, TOO_MUCH)]


def thrift(number: int) -> bytes:
    """A number as Parquet's headers have it."""
    number, out = 2 * number, b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def test_rows_that_repeat_a_long_text_are_read() -> None:
    # One value of a million characters, ten thousand times: 10 GB, were it all read at once.
    rows = parquet_files.rows(io.BytesIO(written(repeated("x" * 1_000_000, 10_000))))
    assert [len(next(rows).value["prompt"]) for _row in range(300)] == [1_000_000] * 300
    rows.close()


def test_a_row_that_is_too_long_is_told_and_the_next_one_read() -> None:
    told = read(written(pa.array(["one", "x" * 9_000_000, "three"])))
    assert [number for number, why in told if why] == [2]
    assert "longer than 2 MB" in told[1][1]


def test_where_the_reading_process_is_killed_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files.parquet_child, "__name__", "antigravity_of_no_use")
    assert read(written(pa.array(["one"]))) == [(1, TOO_MUCH)]


def test_values_come_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    rows = [{"prompt": "Why?", "when": date(2026, 1, 2), "turns": [{"role": "user", "content": "세"}], "bytes": b"\0"}]
    pq.write_table(pa.Table.from_pylist(rows), file)
    with file.open("rb") as opened:
        source = Source(opened)
        assert [row.value for row in source.entries()] == rows
        assert [row.value for row in source.entries()] == rows, "as often as asked for"
        assert source.share() == 1.0
