"""A file is what its content says; what cannot be read safely is refused with a sentence before anything is stored."""

import gzip
import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import BadInput
from app.prompts import bodies, compressed
from app.prompts.formats import Source


def read(data: bytes, format: str = "") -> list[tuple[int, object]]:
    """Line and value, or line and why there is none."""
    return [(entry.line, entry.why or entry.value) for entry in Source(io.BytesIO(data), format).entries()]


def parquet(**columns: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "prompt\nWhy?\n")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (b"Why is it so, Bob?\nHow?\n", "text"),
        (b"Name three things: oak, ash, elm\nWhat, then?\n", "text"),
        (b'"Hello," she said.\n', "text"),
        (b"[1] Why?\n", "text"),
        (b"prompt,tags\nWhy?,short\n", "csv"),
        (b"\xef\xbb\xbfprompt;tags\r\nWhy, really?;short\r\n", "csv"),
        (b",question,answer_a,answer_b\n0,Why?,x,y\n", "csv"),
        (b"question\nWhy?\n", "csv"),
        (b"frage\tart\nWarum?\tkurz\n", "csv"),
        (b' [{"prompt": "Why?"}]', "json"),
        (b'{"prompt": "Why?"}\n', "jsonl"),
        (b'"Why?"\n"How?"\n', "jsonl"),
        (gzip.compress(b'{"prompt": "Why?"}\n', mtime=0), "jsonl"),
        (pa.Codec("zstd").compress(b"prompt,tags\nWhy?,short\n", asbytes=True), "csv"),
        (parquet(prompt=["Why?"]), "parquet"),
    ],
)
def test_it_is_recognised_by_its_content(data: bytes, format: str) -> None:
    assert Source(io.BytesIO(data)).format == format
    assert len(read(data)) == data.count(b"\n") if format == "text" else read(data)


def test_what_somebody_says_it_is_counts_more() -> None:
    assert read(b"prompt,tags\nWhy?,short\n", "text") == [(1, "prompt,tags"), (2, "Why?,short")]
    assert read(b"name,frage\nBob,Warum?\n", "csv") == [(2, {"name": "Bob", "frage": "Warum?"})]


def test_a_table_s_rows_keep_their_newlines_and_formulas_and_know_their_first_line() -> None:
    data = b'prompt,tags\r\n"Why,\r\n\r\n""really""?",a\r\n=HYPERLINK("x"),\r\n\r\n@sum\r\n'
    assert read(data) == [
        (2, {"prompt": 'Why,\n\n"really"?', "tags": "a"}),
        (5, {"prompt": '=HYPERLINK("x")', "tags": ""}),
        (7, {"prompt": "@sum"}),
    ]


def test_a_wrong_row_of_a_table_is_named_and_the_others_are_read() -> None:
    long = b"x" * (bodies.LONGEST + 10)
    data = b'prompt,tags\none,a\nb,c,d\n"q"r,1\n\xff,2\n' + long + b"\ntwo,b\n"
    found = dict(read(data))
    assert (found[2], found[7]) == ({"prompt": "one", "tags": "a"}, {"prompt": "two", "tags": "b"})
    assert found[3] == "This row has 3 fields, but the table has 2 columns."
    assert str(found[4]).startswith("This row's quotation marks do not fit together")
    assert found[5] == "This is not UTF-8. Save it as UTF-8."
    assert str(found[6]).startswith("This is longer than 2 MB")


@pytest.mark.parametrize("rest", [b"a,b\n" * 3, (b"a" * 1000 + b",b\n") * 5_000], ids=["short", "long"])
def test_a_quotation_mark_that_is_never_closed_ends_a_table(rest: bytes) -> None:
    *_, last = read(b'prompt,tags\none,a\n"open,' + rest)
    assert last == (3, "A quotation mark that is opened here is not closed, so nothing from here on could be read.")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "nothing in it"),
        (b"\n \n", "nothing in it"),
        (gzip.compress(b"", mtime=0), "nothing in it"),
        ("prompt\nWhy?".encode("utf-16"), "UTF-16"),
        (b"Why?\x00How?\n", "NUL bytes"),
        (zipped("../../etc/prompts.csv"), "zip"),
        (b"7z\xbc\xaf'\x1c", "7z"),
        (b"BZh91AY&SY\x00", "bzip2"),
        (pickle.dumps({"prompt": "Why?"}), "pickle"),
        (parquet(prompt=["Why?"])[:-1] + b"0", "its end is none"),
        (parquet(prompt=["Why?"])[:-8] + b"\xff\xff\xff\x7fPAR1", "its end is none"),
        (parquet(prompt=["Why?"])[:-100] + b"\x19" * 92 + parquet(prompt=["Why?"])[-8:], "cannot be read"),
        (parquet(**{f"c{n}": [1] for n in range(1001)}), "more than 1,000 columns"),
        (gzip.compress(parquet(prompt=["Why?"]), mtime=0), "Send the Parquet file itself"),
        (gzip.compress(gzip.compress(b"Why?", mtime=0), mtime=0), "NUL bytes"),
        (gzip.compress(b"Why? How? " * 1000, mtime=0)[:-9], "damaged or cut off"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 20, "damaged or cut off"),
        (b"prompt,prompt\na,b\n", "every name once"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        list(Source(io.BytesIO(data)).entries())


def test_a_name_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "prompts.parquet"
    file.write_bytes(pickle.dumps(["Why?"], protocol=5))
    with file.open("rb") as opened, pytest.raises(BadInput, match="pickle"):
        Source(opened)
    with pytest.raises(BadInput, match="no Parquet file"):
        Source(io.BytesIO(b"Why?\n"), "parquet")


def test_what_explodes_or_is_cut_off_at_its_end_is_found_before_anything_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compressed, "FREE", 1_000_000)
    bomb = Source(io.BytesIO(gzip.compress(b'{"prompt": "Why?"}\n' + b"\n" * 3_000_000)))
    with pytest.raises(BadInput, match="more than 100 times its size"):
        bomb.check_whole(lambda: None)
    lines = b"".join(b'{"prompt": "%d"}\n' % n for n in range(50_000))
    cut = Source(io.BytesIO(gzip.compress(lines)[:-20]))
    with pytest.raises(BadInput, match="cut off"):
        cut.check_whole(lambda: None)
    whole = Source(io.BytesIO(gzip.compress(lines)))
    whole.check_whole(lambda: None)
    assert sum(1 for _ in whole.entries()) == 50_000


def test_a_line_of_any_length_is_read_in_constant_memory(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    with file.open("wb") as out:
        out.write(b'"first"\n"')
        out.truncate(60_000_000)  # a hole of NUL bytes: one line without end
    with file.open("rb") as opened:
        source = Source(io.BytesIO(b'"first"\n'))
        source.raw = source.file = opened
        tracemalloc.start()
        found = [(entry.line, entry.why[:22]) for entry in source.entries()]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert found == [(1, ""), (2, "This is longer than 2 ")]
    assert peak < 20_000_000
