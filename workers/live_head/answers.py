"""What people said in a project, as arrays for the fit, and which responses the engine has yet to read."""

from typing import NamedTuple

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.models import DECISIVE, Answer, Comparison, Project, Prompt, Response
from workers.live_head.fit import Answers

MOST = 4000
"""The newest so many answers are learnt from."""


class Said(NamedTuple):
    """The answers whose two responses have features of the name `features_from`; None where nothing has been read."""

    features_from: str | None
    newest: int
    """The highest id of an answer that was looked at."""
    answers: list[int]
    """Their ids, in the order of the arrays."""
    responses: list[int]
    """Ids of their responses; `first` and `second` are places in this list."""
    arrays: Answers
    unread: list[int]
    """Ids of compared responses without such features, those of the newest answers first."""


def gather(session: Session, project: Project) -> Said:
    """Read the newest answers that say something about two responses."""
    a, b = aliased(Response), aliased(Response)
    rows = session.execute(
        select(
            Answer.id,
            Answer.verdict,
            Answer.preferred,
            Answer.strength,
            Prompt.id.label("prompt"),
            Prompt.holdout,
            Comparison.purpose,
            a.id.label("first"),
            b.id.label("second"),
            a.features_from.label("first_from"),
            b.features_from.label("second_from"),
            func.octet_length(a.features).label("first_size"),
            func.octet_length(b.features).label("second_size"),
            (func.length(a.text) - func.length(b.text)).label("longer"),
        )
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(a, a.id == Comparison.response_a_id)
        .join(b, b.id == Comparison.response_b_id)
        .where(Answer.project_id == project.id, Answer.verdict.in_(DECISIVE), ~Answer.measures)
        .order_by(Answer.id.desc())
        .limit(MOST)
    ).all()
    # An engine that reads another layer than before gives its features another name; the newest one counts.
    named = [
        (response, name)
        for row in rows
        for response, name in ((row.first, row.first_from), (row.second, row.second_from))
        if name is not None and name.startswith(f"{project.base_model} layer ")
    ]
    name = max(named)[1] if named else None
    unread: dict[int, None] = {}
    for row in rows:
        for response, made_by in ((row.first, row.first_from), (row.second, row.second_from)):
            if made_by is None or made_by != name:
                unread[response] = None
    read = [
        row
        for row in reversed(rows)
        if row.first_from == row.second_from == name and row.first_size and row.second_size
    ]
    place: dict[int, int] = {}
    prompt: dict[int, int] = {}
    table = [
        (
            place.setdefault(row.first, len(place)),
            place.setdefault(row.second, len(place)),
            0 if row.verdict != "preferred" else 1 if row.preferred == "a" else -1,
            row.strength or 0,
            prompt.setdefault(row.prompt, len(prompt)),
        )
        for row in read
    ]
    whole = np.array(table, dtype=np.int64).reshape(-1, 5)
    holdout = np.array([row.holdout for row in read], dtype=np.bool_)
    longer = np.array([row.longer for row in read], dtype=np.float64)
    repeat = np.array([row.purpose == "repeat" for row in read], dtype=np.bool_)
    arrays = Answers(whole[:, 0], whole[:, 1], whole[:, 2], whole[:, 3], whole[:, 4], holdout, longer, repeat)
    newest = rows[0].id if rows else 0
    return Said(name, newest, [row.id for row in read], list(place), arrays, list(unread))
