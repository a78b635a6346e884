"""The list of prompts: found by words and filters among a million, and counted no further than people care."""

from typing import Any

from sqlalchemy import ColumnElement, and_, func, select, text, true
from sqlalchemy.orm import Session

from app.lists import SIZE, Asked, Listing, itself, page_of
from app.models import Project, Prompt

MOST = 10_000
"""Beyond this a count says "more than"."""
STATES: dict[str, ColumnElement[bool]] = {
    "withdrawn": Prompt.withdrawn_at.is_not(None),
    "used": Prompt.withdrawn_at.is_(None),
    "holdout": Prompt.holdout & Prompt.withdrawn_at.is_(None),
    "inside": ~Prompt.sampled & Prompt.withdrawn_at.is_(None),
}
"""`is:holdout` are held out of training, `is:inside` came inside comparisons and are never sampled."""
COLUMNS = {"added": Prompt.id, "priority": Prompt.priority, "sampled": Prompt.times_sampled}
# Postgres cuts the search into words as it cuts the prompts; each is the beginning of a word there.
BEGINNINGS = text(r"""
    select string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || ''':*', ' & ')
    from unnest(to_tsvector('simple', :words))
""")


def listed(session: Session, project: Project, asked: Asked, path: str, size: int = SIZE) -> Listing[Prompt]:
    """A page of a project's prompts that match, newest first where no other order is asked for."""
    query = select(Prompt).where(Prompt.project_id == project.id, matching(session, asked))
    return page_of(session, query, Prompt.id, COLUMNS, asked, path, "-added", make=itself, size=size)


def matching(session: Session, asked: Asked) -> ColumnElement[bool]:
    """Which prompts a search means: all of them where it says nothing.

    Words must each begin a word of some turn, in any case; `tag:`, `source:` and `is:` (STATES) narrow further.
    """
    words, filters = asked.parsed("tag", "source", "is")
    found = [STATES[state] for state in filters["is"] if state in STATES]
    if filters["tag"]:
        found.append(Prompt.tags.contains(filters["tag"]))
    if filters["source"]:
        found.append(Prompt.source.in_(filters["source"]))
    if words:
        beginnings = session.scalar(BEGINNINGS, {"words": " ".join(words)}) or ""
        found.append(func.prompt_words(Prompt.messages).op("@@")(func.to_tsquery("simple", beginnings)))
    return and_(true(), *found)


def matches(session: Session, project: Project, asked: Asked) -> int:
    """How many prompts match; MOST + 1 at most."""
    return session.scalar(select(_up_to_most(project, matching(session, asked)))) or 0


def counts(session: Session, project: Project) -> dict[str, int]:
    """How many prompts are in use, only came inside comparisons, are held out, or were withdrawn; MOST + 1 at most."""
    which = {
        "sampled": Prompt.sampled & Prompt.withdrawn_at.is_(None),
        "inside_comparisons": STATES["inside"],
        "holdout": STATES["holdout"],
        "withdrawn": STATES["withdrawn"],
    }
    row = session.execute(select(*(_up_to_most(project, one).label(name) for name, one in which.items()))).one()
    return {name: int(value) for name, value in row._mapping.items()}


def _up_to_most(project: Project, which: ColumnElement[bool]) -> Any:
    some = select(Prompt.id).where(Prompt.project_id == project.id, which).limit(MOST + 1).subquery()
    return select(func.count()).select_from(some).scalar_subquery()
