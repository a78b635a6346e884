"""What an export would hold, before it is made: how many answers, why the others stay out, and a few real rows."""

import json
from collections import Counter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, case, func, literal, select
from sqlalchemy.orm import Session

from app.datasets import answer_table, exports, rules, votes
from app.datasets.columns import Beside, Rationales
from app.datasets.filters import Filters
from app.datasets.formats import JSON_COLUMNS
from app.datasets.json_text import lines_of
from app.datasets.layouts import LAYOUTS, Layout
from app.models import DECISIVE, VERDICTS, Answer, Comparison, Project

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


def preview(session: Session, project: Project, layout: str, filters: Filters, per: str = votes.EACH) -> Preview:
    """Count and show what an export of this layout with these filters would hold now."""
    form, taken = LAYOUTS[layout], rules.where(session, project, filters)
    by_verdict: dict[str, int] = dict(
        session.execute(_taken(taken, Answer.verdict, func.count()).group_by(Answer.verdict)).all()
    )
    if per == votes.COMPARISON:
        rows, left_out = _per_comparison(session, taken, form)
        left_out |= {verdict: by_verdict.get(verdict, 0) for verdict in VERDICTS if verdict not in DECISIVE}
    else:
        left_out = {verdict: n for verdict, n in by_verdict.items() if verdict not in form.gives}
        rows = sum(n * form.gives.get(verdict, 0) for verdict, n in by_verdict.items())
    if form.per_prompt:
        prompts = _taken([*taken, Answer.verdict.in_(form.gives)], func.count(Comparison.prompt_id.distinct()))
        rows = session.scalar(prompts) or 0
    return Preview(
        answers=sum(by_verdict.values()),
        rows=rows,
        exclusions=rules.exclusions(session, project, filters) + exports.not_written(form, left_out),
        examples=_examples(session, project, filters, form, per),
    )


def _taken(taken: list[ColumnElement[bool]], *columns: Any) -> Select[Any]:
    return select(*columns).select_from(Answer).join(Comparison, Comparison.id == Answer.comparison_id).where(*taken)


def _per_comparison(session: Session, taken: list[ColumnElement[bool]], form: Layout) -> tuple[int, dict[str, int]]:
    """How many rows the comparisons give, and how many votes the others had, by what most of them say."""
    says = case((Answer.verdict == "preferred", Answer.preferred), else_=Answer.verdict)
    kinds = [func.count().filter(says == kind).label(kind) for kind in votes.KINDS]
    decided = [*taken, Answer.verdict.in_(DECISIVE)]
    each = _taken(decided, func.count().label("n"), *kinds).group_by(Answer.comparison_id).subquery()
    most = func.greatest(*(each.c[kind] for kind in votes.KINDS))
    winners = sum((case((each.c[kind] == most, 1), else_=0) for kind in votes.KINDS), literal(0))
    outcome = case(
        (winners > 1, votes.DRAWN),
        (each.c.tie == most, "tie"),
        (each.c.both_bad == most, "both_bad"),
        else_="preferred",
    ).label("outcome")
    counted = select(outcome, func.count(), func.sum(each.c.n)).group_by(outcome)
    found = {name: (comparisons, int(answers)) for name, comparisons, answers in session.execute(counted)}
    rows = sum(comparisons * form.gives.get(name, 0) for name, (comparisons, _n) in found.items())
    return rows, {name: answers for name, (_n, answers) in found.items() if name not in form.gives}


def _examples(session: Session, project: Project, filters: Filters, form: Layout, per: str) -> list[str]:
    newest, said = answer_table.preview(session, project, filters, LOOKED_AT)
    make = form.rows
    if per == votes.COMPARISON:
        make = votes.per_comparison(make, votes.Counted(iter([newest])), form.gives)
    beside = Beside(Rationales(said), Counter())
    lines = [line for rows in make(iter([newest]), beside) for line in lines_of(rows, JSON_COLUMNS).to_pylist()]
    return [_readable(line) for line in lines[-SHOWN:]][::-1]


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
