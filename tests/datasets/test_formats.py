"""Files in every format hold the same rows; text stays text in a spreadsheet; archives open elsewhere."""

import csv
import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sqlalchemy.orm import Session

from app.datasets import exports, formats, snapshots
from app.datasets.filters import Filters
from app.errors import BadInput
from tests.datasets.scene import Scene


def written(session: Session, scene: Scene, tmp_path: Path, format: str, layout: str = "preference") -> Any:
    snapshot = snapshots.take(session, scene.project, Filters())
    path = tmp_path / f"x.{formats.format_of(format).suffix}"
    return path, exports.write_file(snapshot, layout, format, path, lambda *_: None)


@pytest.mark.parametrize("base", ["jsonl", "csv"])
def test_compressed_files_hold_the_same(session: Session, scene: Scene, tmp_path: Path, base: str) -> None:
    plain = written(session, scene, tmp_path, base)[0].read_bytes()
    zipped, facts = written(session, scene, tmp_path, f"{base}.gz")
    assert gzip.decompress(zipped.read_bytes()) == plain
    assert facts["file"].endswith(f".{base}.gz")
    with pa.CompressedInputStream(str(written(session, scene, tmp_path, f"{base}.zst")[0]), "zstd") as stream:
        assert stream.read() == plain


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(session: Session, scene: Scene, tmp_path: Path, start: str) -> None:
    text = f'{start}HYPERLINK("http://evil.example", "x, y")\n{start}2'
    scene.answers[0].rationale = scene.answers[0].comparison.response_a.text = text
    path, _ = written(session, scene, tmp_path, "csv", "standard")
    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert rows[0]["chosen"] == f"'{text}"
    assert rows[0]["rejected"] == "I cannot say."
    assert [row["holdout"] for row in rows] == ["false", "true", "false"]
    path, _ = written(session, scene, tmp_path, "csv", "raw")
    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert rows[0]["rationale"] == f"'{text}"
    assert json.loads(rows[0]["responses"])[0]["text"] == text
    assert (rows[2]["strength"], rows[0]["seconds"]) == ("", "4.5")
    assert rows[0]["created"] == "2026-03-01T12:30:15.123456+00:00"


def test_the_directory_has_two_splits_and_a_card_with_its_numbers(
    session: Session, scene: Scene, tmp_path: Path
) -> None:
    path, manifest = written(session, scene, tmp_path, "datasets")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    out = tmp_path / "out"
    assert pq.read_metadata(out / "data/train.parquet").num_rows == 2
    assert pq.read_metadata(out / "data/test.parquet").num_rows == 1
    _, head, body = (out / "README.md").read_text().split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["dataset_info"]["splits"] == [{"name": "train", "num_examples": 2}, {"name": "test", "num_examples": 1}]
    assert [one["name"] for one in told["dataset_info"]["features"]] == list(manifest["features"])
    assert "3 rows in the layout `preference`" in body
    assert "- 1 answers: These were skipped." in body
    assert manifest["snapshot"]["sha256"] in body
    again, _ = written(session, scene, tmp_path, "datasets")
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["", "xml", "jsonl.", "jsonl.bz2", "parquet.gz", "csv.gz.gz", ".gz"])
def test_other_formats_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="There is no format"):
        formats.format_of(name)
