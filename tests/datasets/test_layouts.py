"""What the rows of each layout say, and that both formats say the same."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy.orm import Session

from app.datasets import answer_table, exports, previews, snapshots
from app.datasets.filters import Filters
from app.datasets.formats import FORMATS
from app.datasets.layouts import LAYOUTS, Rationales
from app.datasets.pseudonyms import pseudonym
from tests.datasets.scene import DAY, Scene

NOWHERE = lambda phase, done, total: None  # noqa: E731


def written(
    session: Session, scene: Scene, tmp_path: Path, layout: str, format: str = "jsonl"
) -> tuple[list[Any], Any]:
    snapshot = snapshots.take(session, scene.project, Filters())
    path = tmp_path / f"{layout}.{format}"
    manifest = exports.write_file(snapshot, layout, format, path, NOWHERE)
    if format == "parquet":
        assert pq.read_schema(path).remove_metadata() == LAYOUTS[layout].schema
        return pq.read_table(path).to_pylist(), manifest
    return [json.loads(line) for line in path.read_text().splitlines()], manifest


def test_a_preference_is_a_prompt_with_a_chosen_and_a_rejected_answer(
    session: Session, scene: Scene, tmp_path: Path
) -> None:
    rows, manifest = written(session, scene, tmp_path, "preference")
    comparison = scene.answers[1].comparison
    assert rows[1] == {
        "prompt": [{"role": "user", "content": "Question 1 of garden?"}],
        "chosen": [{"role": "assistant", "content": "I cannot say."}],
        "rejected": [{"role": "assistant", "content": "A row of bushes."}],
        "strength": 3,
        "answer": str(scene.answers[1].id),
        "comparison": str(comparison.id),
        "prompt_id": str(comparison.prompt_id),
        "prompt_hash": comparison.prompt.hash,
        "holdout": True,
        "purpose": "train",
        "source": "page",
        "simulated": False,
        "annotator": pseudonym(scene.bob.id),
        "created": (DAY + timedelta(days=1)).isoformat(),
        "guideline_version": 1,
        "checkpoint_chosen": "",
        "checkpoint_rejected": "",
    }
    assert [row["chosen"][0]["content"] for row in rows] == ["A row of bushes.", "I cannot say.", "Yes."]
    assert (rows[2]["annotator"], rows[2]["guideline_version"]) == ("", 0)
    assert manifest["rows"] == 3
    assert manifest["exclusions"] == [
        {"reason": "simulated", "answers": 1, "why": "Simulated annotators gave these."},
        {"reason": "tie", "answers": 1, "why": "These say that both responses are about the same."},
        {"reason": "skipped", "answers": 1, "why": "These were skipped."},
    ]


def test_no_value_of_a_preference_is_null(session: Session, scene: Scene, tmp_path: Path) -> None:
    rows, _ = written(session, scene, tmp_path, "preference", "parquet")
    assert [name for row in rows for name, value in row.items() if value is None] == []


def test_a_raw_row_says_everything(session: Session, scene: Scene, tmp_path: Path) -> None:
    rows, manifest = written(session, scene, tmp_path, "raw")
    first, comparison = scene.answers[0], scene.answers[0].comparison
    responses = [
        {"id": str(response.id), "text": response.text, "checkpoint": None, "finish_reason": "stop", "token_ids": ids}
        for response, ids in ((comparison.response_a, [40, 41, 2]), (comparison.response_b, [41, 41, 2]))
    ]
    assert rows[0] == {
        "answer": str(first.id),
        "comparison": str(comparison.id),
        "prompt_id": str(comparison.prompt_id),
        "prompt": [{"role": "user", "content": "Question 0 of garden?"}],
        "responses": responses,
        "shown_left": str(comparison.response_b_id),
        "verdict": "preferred",
        "preferred": str(comparison.response_a_id),
        "strength": 1,
        "skip_reason": None,
        "criteria": {"honest": "a", "helpful": 2},
        "flags": ["broken"],
        "rationale": "It is right.",
        "annotator": pseudonym(scene.alice.id),
        "seconds": 4.5,
        "created": DAY.isoformat(),
        "revision": 1,
        "guideline_version": 1,
        "checkpoints": [None, None],
        "source": "page",
        "simulated": False,
        "purpose": "train",
        "holdout": False,
        "prompt_hash": comparison.prompt.hash,
        "prompt_token_ids": [1, 5, 2],
    }
    assert [row["verdict"] for row in rows] == ["preferred", "preferred", "tie", "skipped", "preferred"]
    assert [row["rationale"] for row in rows] == ["It is right.", "", "", "", ""]
    assert [row["preferred"] for row in rows[1:4]] == [str(scene.answers[1].comparison.response_b_id), None, None]
    assert (rows[4]["responses"][0]["token_ids"], rows[4]["annotator"], rows[4]["shown_left"]) == (None, None, None)
    assert [one["reason"] for one in manifest["exclusions"]] == ["simulated"]


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_both_formats_say_the_same(session: Session, scene: Scene, tmp_path: Path, layout: str) -> None:
    lines, from_lines = written(session, scene, tmp_path, layout)
    table, from_table = written(session, scene, tmp_path, layout, "parquet")
    for row in table:
        row["created"] = row["created"].isoformat()
        if "criteria" in row:
            row["criteria"] = json.loads(row["criteria"])
    assert lines == table
    assert from_lines["snapshot"] == from_table["snapshot"]
    assert from_lines["rows"] == from_table["rows"] == len(table)


def test_rationales_find_their_answers_across_batches(
    session: Session, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_table, "ROWS", 2)
    for number, answer in enumerate(scene.answers):
        answer.rationale = f"Because {number}." if number != 2 else ""
    rows, _ = written(session, scene, tmp_path, "raw")
    assert [row["rationale"] for row in rows] == ["Because 0.", "Because 1.", "", "Because 3.", "Because 5."]


def test_hostile_text_survives_both_formats(session: Session, scene: Scene, tmp_path: Path) -> None:
    text = '</script>\r\n\u2028\u2029\x85\x0c"\\,=cmd()\t\U0001f642 \u202e عربى'
    scene.answers[0].comparison.response_a.text = text
    for format in FORMATS:
        rows, _ = written(session, scene, tmp_path, "preference", format)
        assert rows[0]["chosen"][0]["content"] == text
        assert len(rows) == 3


def test_an_empty_snapshot_makes_an_empty_file(session: Session, scene: Scene, tmp_path: Path) -> None:
    snapshot = snapshots.take(session, scene.project, Filters(since=DAY + timedelta(days=99)))
    for format in FORMATS:
        manifest = exports.write_file(snapshot, "preference", format, tmp_path / f"x.{format}", NOWHERE)
        assert manifest["rows"] == 0
        assert [(one["reason"], one["answers"]) for one in manifest["exclusions"]] == [("simulated", 1), ("since", 5)]


def test_a_preview_counts_and_shows_real_rows(session: Session, scene: Scene) -> None:
    shown = previews.preview(session, scene.project, "preference", Filters())
    assert (shown.answers, shown.rows) == (5, 3)
    assert [one["reason"] for one in shown.exclusions] == ["simulated", "tie", "skipped"]
    assert [json.loads(example)["answer"] for example in shown.examples] == [
        str(scene.answers[5].id),
        str(scene.answers[1].id),
    ]
    raw = previews.preview(session, scene.project, "raw", Filters(simulated=True))
    assert (raw.answers, raw.rows, raw.exclusions) == (6, 6, [])
    empty = previews.preview(session, scene.project, "raw", Filters(until=DAY - timedelta(days=1)))
    assert (empty.answers, empty.examples) == (0, [])


def test_a_layout_reads_only_the_columns_it_needs(session: Session, scene: Scene) -> None:
    snapshot = snapshots.take(session, scene.project, Filters())
    columns = LAYOUTS["preference"].columns
    assert "tokens_a" not in columns
    for batch in snapshots.taken_rows(snapshot, columns):
        assert set(batch.schema.names) == set(columns)
        LAYOUTS["preference"].rows(batch, Rationales(iter(())), Counter())
