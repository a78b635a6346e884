"""Who has read which version of the guidelines: a changed one comes before the next pair, with what changed."""

import difflib
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.errors import NotFound
from app.languages import _
from app.models import GuidelineReading, GuidelineVersion


class Line(NamedTuple):
    """A line of the guidelines in force, or one that is no longer in them."""

    change: Literal["added", "removed", "same"]
    text: str


@dataclass(frozen=True)
class ToRead:
    """The version in force, and how it differs from the one this person read last (None: they have read none)."""

    version: GuidelineVersion
    before: int | None
    lines: list[Line]


def due(session: Session, access: Access) -> ToRead | None:
    """The guidelines that this person has to read before the next pair; None where there is nothing new."""
    mine = select(GuidelineReading.version_id).where(GuidelineReading.user_id == access.person.id)
    newest = select(GuidelineVersion).where(GuidelineVersion.project_id == access.project.id)
    newest = newest.order_by(GuidelineVersion.version.desc()).limit(1)
    version = session.scalar(newest)
    if version is None or not version.text:
        return None
    known = session.scalar(newest.where(GuidelineVersion.id.in_(mine)))
    if known is version:
        return None
    if known is None:
        return ToRead(version, None, [])
    return ToRead(version, known.version, changes(known.text, version.text))


def confirm(session: Session, access: Access, number: int) -> None:
    """Note that this person has read a version; saying it twice is saying it once. NotFound for one there is not."""
    version = session.scalar(
        select(GuidelineVersion.id).where(
            GuidelineVersion.project_id == access.project.id, GuidelineVersion.version == number
        )
    )
    if version is None:
        raise NotFound(_("These guidelines have no version {version}.").format(version=number))
    session.execute(
        insert(GuidelineReading).values(user_id=access.person.id, version_id=version).on_conflict_do_nothing()
    )


def in_force(session: Session, access: Access) -> int | None:
    """The number of the version in force."""
    return session.scalar(
        select(func.max(GuidelineVersion.version)).where(GuidelineVersion.project_id == access.project.id)
    )


def changes(before: str, after: str) -> list[Line]:
    """All lines of both texts in order, each marked; where lines were replaced, what was removed comes first."""
    old, new = before.splitlines(), after.splitlines()
    found: list[Line] = []
    for kind, start, end, first, last in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found += [Line("same", line) for line in new[first:last]]
        else:
            found += [Line("removed", line) for line in old[start:end]]
            found += [Line("added", line) for line in new[first:last]]
    return found
