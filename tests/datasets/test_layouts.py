"""What the rows of each layout say, and that both formats say the same."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy.orm import Session

from app.datasets import answer_table, exports, previews, rankings, snapshots
from app.datasets.columns import Beside, Rationales
from app.datasets.filters import Filters
from app.datasets.formats import FORMATS
from app.datasets.layouts import LAYOUTS
from app.datasets.pseudonyms import pseudonym
from app.models import Response
from tests.datasets.scene import DAY, Scene
from tests.pairs import make_answer, make_comparison

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
        if "created" in row:
            row["created"] = row["created"].isoformat()
        if "criteria" in row:
            row["criteria"] = json.loads(row["criteria"])
    assert lines == table
    assert from_lines["snapshot"] == from_table["snapshot"]
    assert from_lines["rows"] == from_table["rows"] == len(table)


def a_conversation(scene: Scene) -> None:
    """The first prompt becomes a conversation of four turns."""
    scene.answers[0].comparison.prompt.messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is a hedge?"},
        {"role": "assistant", "content": "A row."},
        {"role": "user", "content": "Of what?"},
    ]


def test_a_margin_is_the_strength(session: Session, scene: Scene, tmp_path: Path) -> None:
    rows, _ = written(session, scene, tmp_path, "margin")
    assert [(row["margin"], row["strength"]) for row in rows[:2]] == [(1.0, 1), (3.0, 3)]


def test_plain_text_names_who_speaks_where_a_prompt_has_several_turns(
    session: Session, scene: Scene, tmp_path: Path
) -> None:
    a_conversation(scene)
    rows, _ = written(session, scene, tmp_path, "standard")
    assert rows[0]["prompt"] == ("System: Be brief.\n\nUser: What is a hedge?\n\nAssistant: A row.\n\nUser: Of what?")
    assert (rows[1]["prompt"], rows[1]["chosen"]) == ("Question 1 of garden?", "I cannot say.")


def test_transcripts_are_whole_dialogues_with_one_beginning(session: Session, scene: Scene, tmp_path: Path) -> None:
    a_conversation(scene)
    rows, _ = written(session, scene, tmp_path, "hh")
    beginning = "Be brief.\n\nHuman: What is a hedge?\n\nAssistant: A row.\n\nHuman: Of what?\n\nAssistant: "
    assert (rows[0]["chosen"], rows[0]["rejected"]) == (f"{beginning}A row of bushes.", f"{beginning}I cannot say.")
    assert rows[1]["chosen"] == "\n\nHuman: Question 1 of garden?\n\nAssistant: I cannot say."


def test_a_chat_ends_with_the_chosen_response(session: Session, scene: Scene, tmp_path: Path) -> None:
    a_conversation(scene)
    rows, _ = written(session, scene, tmp_path, "sft")
    assert [turn["content"] for turn in rows[0]["messages"]] == [
        "Be brief.",
        "What is a hedge?",
        "A row.",
        "Of what?",
        "A row of bushes.",
    ]
    assert rows[1]["messages"] == [
        {"role": "user", "content": "Question 1 of garden?"},
        {"role": "assistant", "content": "I cannot say."},
    ]


def test_unpaired_rows_are_good_or_bad(session: Session, scene: Scene, tmp_path: Path) -> None:
    scene.answers[3].verdict, scene.answers[3].skip_reason = "both_bad", None
    rows, manifest = written(session, scene, tmp_path, "kto")
    assert [(row["completion"][0]["content"], row["label"]) for row in rows[:6]] == [
        ("A row of bushes.", True),
        ("I cannot say.", False),
        ("I cannot say.", True),
        ("A row of bushes.", False),
        ("A row of bushes.", False),
        ("I cannot say.", False),
    ]
    assert [row["answer"] for row in rows] == [str(scene.answers[n].id) for n in (0, 0, 1, 1, 3, 3, 5, 5)]
    assert [one["reason"] for one in manifest["exclusions"]] == ["simulated", "tie"]
    shown = previews.preview(session, scene.project, "kto", Filters())
    assert (shown.rows, shown.exclusions) == (8, manifest["exclusions"])


def test_a_ranking_has_the_responses_of_a_prompt_best_first(session: Session, scene: Scene, tmp_path: Path) -> None:
    """A beats B, B beats C, A and C tie: with the prior's half win and loss each, A is as far above B as B above C."""
    first = scene.answers[0].comparison
    third = Response(prompt_id=first.prompt_id, text="A fence.", source="sample", base_model="tiny")
    session.add(third)
    session.flush()
    for a, b, verdict in ((first.response_b_id, third.id, "preferred"), (first.response_a_id, third.id, "tie")):
        comparison = make_comparison(session, first.prompt)
        comparison.response_a_id, comparison.response_b_id = a, b
        make_answer(session, comparison, scene.alice, verdict)
    rows, manifest = written(session, scene, tmp_path, "ranking")
    assert [one["text"] for one in rows[0]["responses"]] == ["A row of bushes.", "I cannot say.", "A fence."]
    scores = [one["score"] for one in rows[0]["responses"]]
    assert scores == pytest.approx([-scores[2], 0, scores[2]], abs=1e-5)
    assert (rows[0]["votes"], manifest["rows"], len(rows)) == (3, 4, 4)
    assert previews.preview(session, scene.project, "ranking", Filters()).rows == 4


def test_scores_solve_bradley_and_terrys_equation() -> None:
    """Two responses, 3 wins to 1, and half a win and a loss each against strength 1: s = (3.5 - e) / (1.5 + e) by hand.

    By symmetry the strengths are s and 1 / s, and s solves 4 s^2 / (s^2 + 1) + s / (s + 1) = 3.5.
    """
    scores = rankings.scores(np.array([[0.0, 3.0], [1.0, 0.0]]))
    s = np.exp(scores[0])
    assert scores.sum() == pytest.approx(0)
    assert 4 * s**2 / (s**2 + 1) + s / (s + 1) == pytest.approx(3.5, abs=1e-6)


def test_prompts_come_once(session: Session, scene: Scene, tmp_path: Path) -> None:
    make_answer(session, make_comparison(session, scene.answers[0].comparison.prompt), scene.alice)
    rows, _ = written(session, scene, tmp_path, "prompts")
    assert [row["prompt"][0]["content"] for row in rows] == [
        *(f"Question {n} of garden?" for n in range(4)),
        "Imported into garden?",
    ]
    assert previews.preview(session, scene.project, "prompts", Filters()).rows == 5


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
    for format in ("jsonl", "parquet"):
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
        assert list(LAYOUTS["preference"].rows(iter([batch]), Beside(Rationales(iter(())), Counter())))
