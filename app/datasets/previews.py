"""What an export would hold, before it is made: how many answers, why the others stay out, and a few real rows."""

import json
from collections import Counter
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.datasets import answer_table
from app.datasets.filters import Filters
from app.datasets.formats import JSON_COLUMNS
from app.datasets.json_text import lines_of
from app.datasets.layouts import LAYOUTS, Rationales
from app.models import Answer, Comparison, Project

LOOKED_AT = 40
"""Newest answers among which rows to show are looked for."""
SHOWN = 2
LONGEST_LIST = 8


class Preview(NamedTuple):
    answers: int
    rows: int
    exclusions: list[dict[str, Any]]
    examples: list[str]
    """The newest rows as indented JSON, long lists of token ids cut."""


def preview(session: Session, project: Project, layout: str, filters: Filters) -> Preview:
    """Count and show what an export of this layout with these filters would hold now."""
    form = LAYOUTS[layout]
    counted = (
        select(Answer.verdict, func.count())
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .where(*filters.where(session, project))
        .group_by(Answer.verdict)
    )
    verdicts: dict[str, int] = {row[0]: row[1] for row in session.execute(counted)}
    not_written: list[dict[str, Any]] = [
        {"reason": verdict, "answers": verdicts[verdict], "why": why}
        for verdict, why in form.why_not.items()
        if verdict in verdicts
    ]
    answers = sum(verdicts.values())
    newest, said = answer_table.preview(session, project, filters, LOOKED_AT)
    rows = form.rows(newest, Rationales(said), Counter())
    return Preview(
        answers=answers,
        rows=answers - sum(one["answers"] for one in not_written),
        exclusions=filters.exclusions(session, project) + not_written,
        examples=[_readable(line) for line in lines_of(rows.slice(max(0, rows.num_rows - SHOWN)), JSON_COLUMNS)][::-1],
    )


def _readable(line: str) -> str:
    return json.dumps(_cut(json.loads(line)), indent=2, ensure_ascii=False)


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cut(one) for name, one in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) > LONGEST_LIST and isinstance(value[0], int):
        return [*value[:LONGEST_LIST], f"… {len(value) - LONGEST_LIST} more"]
    return [_cut(one) for one in value]
