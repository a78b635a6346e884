"""One's own answers, newest first, found again by what was asked, answered, said about it, or by the day."""

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from sqlalchemy import ColumnElement, Text, case, cast, exists, func, or_, select
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.orm import Session, aliased, contains_eager

from app.accounts.access import Access
from app.labeling import answers, words
from app.lists import Asked, Listing, page_of
from app.models import FLAGS, VERDICTS, Answer, Assignment, Comparison, Prompt, Response, Snapshot
from app.models.policies import Labeling

PAGE = 30
EXCERPT = 160
BESIDE = {"tie": 0, "both_bad": 4, "skipped": 5, "cannot_judge": 6}
# The buttons from left to right: A much better is -3, B much better 3, and then what is not between the two.
STEP = case(
    (Answer.preferred == func.coalesce(Assignment.shown_left, "a"), -func.coalesce(Answer.strength, 1)),
    (Answer.verdict == "preferred", func.coalesce(Answer.strength, 1)),
    else_=case(BESIDE, value=Answer.verdict),
)


@dataclass(frozen=True)
class Wanted:
    """What is looked for, all of it together; an empty field looks for nothing, and so does one that makes no sense.

    `text` stands in the prompt, in either response or in one's own reason; `flag` may be "any"; the days are those of
    one's own clock, `until` included.
    """

    text: str = ""
    verdict: str = ""
    flag: str = ""
    since: date | None = None
    until: date | None = None

    @classmethod
    def typed(cls, search: str, verdict: str, flag: str, since: str, until: str) -> "Wanted":
        return cls(
            search.replace("\x00", "").strip(),
            verdict if verdict in VERDICTS else "",
            flag if flag in ("any", *FLAGS) else "",
            _day(since),
            _day(until),
        )

    @property
    def anything(self) -> bool:
        """Whether anything is looked for at all."""
        return self != Wanted()

    @property
    def in_address(self) -> dict[str, str]:
        """The same as fields of the page's address."""
        fields = {
            "search": self.text,
            "verdict": self.verdict,
            "flag": self.flag,
            "since": str(self.since or ""),
            "until": str(self.until or ""),
        }
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True)
class Line:
    """An answer as the history lists it; `held`: a snapshot holds it, so it can be corrected but not undone."""

    answer: Answer
    asked: str
    said: str
    held: bool


def listed(session: Session, access: Access, wanted: Wanted, zone: tzinfo, asked: Asked, path: str) -> Listing[Line]:
    """A page of a person's answers in this project, newest first where no other order is asked for."""
    a, b = aliased(Response), aliased(Response)
    found = (
        select(Answer, exists(select(Snapshot.id).where(answers.held_by())).correlate(Answer))
        .join(Answer.comparison)
        .join(Comparison.prompt)
        .join(a, a.id == Comparison.response_a_id)
        .join(b, b.id == Comparison.response_b_id)
        .outerjoin(Answer.assignment)
        .options(contains_eager(Answer.comparison).contains_eager(Comparison.prompt), contains_eager(Answer.assignment))
        .where(Answer.user_id == access.person.id, Answer.project_id == access.project.id)
    )
    if wanted.text:
        texts = (a.text, b.text, Answer.rationale)
        found = found.where(or_(_asks(wanted.text), *(text.icontains(wanted.text, autoescape=True) for text in texts)))
    if wanted.verdict:
        found = found.where(Answer.verdict == wanted.verdict)
    if wanted.flag:
        flags = FLAGS if wanted.flag == "any" else (wanted.flag,)
        found = found.where(Answer.flags.overlap(flags))
    if wanted.since:
        found = found.where(Answer.created_at >= _midnight(wanted.since, zone))
    if wanted.until:
        found = found.where(Answer.created_at < _midnight(wanted.until + timedelta(days=1), zone))
    strengths = Labeling.from_json(access.project.labeling).strengths

    def line(answer: Answer, held: bool) -> Line:
        return Line(answer, _asked(answer), words.said(answer, shown_left(answer), strengths), held)

    columns, also = {"when": Answer.id, "answer": STEP}, wanted.in_address
    return page_of(session, found, Answer.id, columns, asked, path, "-when", make=line, also=also, size=PAGE)


def shown_left(answer: Answer) -> str:
    """Which response stood on the left when it was answered; a choice from elsewhere is shown as it is stored."""
    return answer.assignment.shown_left if answer.assignment else "a"


def _asks(text: str) -> ColumnElement[bool]:
    # The words of every turn as one text, in which JSON writes quotes and line ends its own way.
    contents = cast(func.jsonb_path_query_array(Prompt.messages, cast("$[*].content", JSONPATH)), Text)
    return contents.icontains(json.dumps(text, ensure_ascii=False)[1:-1], autoescape=True)


def _day(typed: str) -> date | None:
    try:
        day = date.fromisoformat(typed)
    except ValueError:
        return None
    return day if 1970 <= day.year <= 9000 else None


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _asked(answer: Answer) -> str:
    text = " ".join(str(answer.comparison.prompt.messages[-1]["content"]).split())
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1].rstrip() + "…"
