"""Who sees the quality of a project: its admins and operators."""

from typing import Annotated, Any

from fastapi import Depends, Path

from app.accounts.access import Access, MemberOf, page_context
from app.errors import NotAllowed
from app.languages import _

Id = Annotated[int, Path(ge=1, lt=2**63)]


def guard(access: MemberOf) -> Access:
    """An admin or operator of the project in the path; annotators do not see each other's figures."""
    if not access.roles & {"admin", "operator"}:
        raise NotAllowed(_("This needs the role admin or operator in this project. Ask an admin to give it to you."))
    return access


QualityOf = Annotated[Access, Depends(guard)]


def context(access: Access, part: str) -> dict[str, Any]:
    """What every page of the room needs; `part` is the page of it that is open."""
    return {**page_context(access, "quality"), "part": part}
