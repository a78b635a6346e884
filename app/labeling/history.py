"""One's own answers, newest first, found again by the text of their prompt."""

import json
from dataclasses import dataclass

from sqlalchemy import Text, cast, exists, func, select
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.orm import Session, contains_eager, joinedload

from app.accounts.access import Access
from app.labeling import answers, words
from app.models import Answer, Comparison, Prompt, Snapshot
from app.models.policies import Labeling

PAGE = 30
EXCERPT = 160


@dataclass(frozen=True)
class Line:
    """An answer as the history lists it; `held`: a snapshot holds it, so it can be corrected but not undone."""

    answer: Answer
    asked: str
    said: str
    held: bool


def page_of(session: Session, access: Access, search: str = "", before: int | None = None) -> list[Line]:
    """A page of a person's answers in this project; one line more than PAGE says that there is another page."""
    found = (
        select(Answer, exists(select(Snapshot.id).where(answers.held_by())).correlate(Answer))
        .join(Answer.comparison)
        .join(Comparison.prompt)
        .options(contains_eager(Answer.comparison).contains_eager(Comparison.prompt), joinedload(Answer.assignment))
        .where(Answer.user_id == access.person.id, Answer.project_id == access.project.id)
        .order_by(Answer.id.desc())
        .limit(PAGE + 1)
    )
    search = search.replace("\x00", "").strip()
    if search:
        # The words of every turn as one text, in which JSON writes quotes and line ends its own way.
        contents = cast(func.jsonb_path_query_array(Prompt.messages, cast("$[*].content", JSONPATH)), Text)
        found = found.where(contents.icontains(json.dumps(search, ensure_ascii=False)[1:-1], autoescape=True))
    if before is not None:
        found = found.where(Answer.id < before)
    strengths = Labeling.from_json(access.project.labeling).strengths
    return [
        Line(answer, _asked(answer), words.said(answer, shown_left(answer), strengths), held)
        for answer, held in session.execute(found).unique()
    ]


def shown_left(answer: Answer) -> str:
    """Which response stood on the left when it was answered; a choice from elsewhere is shown as it is stored."""
    return answer.assignment.shown_left if answer.assignment else "a"


def _asked(answer: Answer) -> str:
    text = " ".join(str(answer.comparison.prompt.messages[-1]["content"]).split())
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1].rstrip() + "…"
