"""One row per comparison: what most people said, and how many of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.datasets import answer_table, exports, previews, snapshots
from app.datasets.filters import Filters
from app.models import Project
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import make_person, make_project

VOTES = [
    ["a", "a", "b"],
    ["b", "a"],
    ["tie", "b", "b", "b"],
    ["both_bad", "both_bad", "a"],
    ["skipped", "b"],
    ["tie", "tie"],
    ["cannot_judge"],
]
"""What was said about each of seven comparisons; every a and b with a strength of 1, 2, 3 by turns."""


@pytest.fixture
def project(session: Session) -> Project:
    """The answers come person by person, so that those to one comparison do not lie side by side."""
    project = make_project(session)
    people = [make_person(session, f"person{n}", "annotator") for n in range(4)]
    pairs = [make_comparison(session, make_prompt(session, project, f"Question {n}?")) for n in range(len(VOTES))]
    for turn, person in enumerate(people):
        for pair, said in zip(pairs, VOTES, strict=True):
            if turn < len(said):
                preferred = said[turn] in "ab"
                answer = make_answer(session, pair, person, "preferred" if preferred else said[turn])
                if preferred:
                    answer.preferred, answer.strength = said[turn], turn % 3 + 1
    session.flush()
    return project


def written(session: Session, project: Project, path: Path, layout: str, **chosen: Any) -> tuple[list[Any], Any]:
    snapshot = snapshots.take(session, project, Filters(**chosen))
    told = exports.write_file(snapshot, layout, "jsonl", path / "x", lambda *_: None, "comparison")
    return [json.loads(line) for line in (path / "x").read_text().splitlines()], told


@pytest.mark.parametrize("rows", [2, 2048])
def test_a_row_says_what_most_of_the_answers_say(
    session: Session, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Strength is the mean of those who say so, rounded: (1 + 2) / 2 is 2; (2 + 3 + 1) / 3 is 2; 2."""
    monkeypatch.setattr(answer_table, "ROWS", rows)
    found, manifest = written(session, project, tmp_path, "preference")
    assert [(row["prompt"][0]["content"], row["chosen"][0]["content"]) for row in found] == [
        ("Question 0?", "A row of bushes."),
        ("Question 2?", "I cannot say."),
        ("Question 4?", "I cannot say."),
    ]
    assert [(row["strength"], row["votes"]) for row in found] == [(2, 3), (2, 4), (2, 1)]
    assert [row["share"] for row in found] == pytest.approx([2 / 3, 3.5 / 4, 1])
    assert [row["annotator"] != "" for row in found] == [False, False, True]
    assert {one["reason"]: one["answers"] for one in manifest["exclusions"]} == {
        "tie": 2,
        "both_bad": 3,
        "skipped": 1,
        "cannot_judge": 1,
        "drawn": 2,
    }
    assert list(manifest["features"])[-2:] == ["votes", "share"]


@pytest.mark.parametrize("layout", ["preference", "kto", "sft"])
def test_the_preview_counts_what_the_file_holds(
    session: Session, project: Project, tmp_path: Path, layout: str
) -> None:
    _, manifest = written(session, project, tmp_path, layout)
    shown = previews.preview(session, project, layout, Filters(), "comparison")
    assert shown.rows == manifest["rows"]
    key = lambda one: one["reason"]  # noqa: E731
    assert sorted(shown.exclusions, key=key) == sorted(manifest["exclusions"], key=key)


def test_two_bad_responses_are_bad_by_majority_too(session: Session, project: Project, tmp_path: Path) -> None:
    rows, _ = written(session, project, tmp_path, "kto")
    said = [(row["prompt"][0]["content"], row["label"]) for row in rows]
    assert said.count(("Question 3?", False)) == 2
    assert said.count(("Question 0?", True)) == said.count(("Question 0?", False)) == 1


def test_only_comparisons_on_which_people_agree_are_taken(session: Session, project: Project) -> None:
    """2 of 3, 1 of 2, 3 of 4, 2 of 3, 1 of 1, 2 of 2; nobody decided the last one, so nobody disagrees."""
    for least, left_out in ((0.5, 0), (0.6, 2), (0.7, 2 + 3 + 3), (0.75, 8), (1, 8 + 4)):
        shown = previews.preview(session, project, "raw", Filters(agreement=least))
        assert sum(one["answers"] for one in shown.exclusions if one["reason"] == "agreement") == left_out
        assert snapshots.take(session, project, Filters(agreement=least)).manifest["answers"] == 17 - left_out
