"""How often somebody's own last answers are what the others came to, for projects that let people see it."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.accounts.access import Access
from app.models import DECISIVE, Answer

LAST = 20
"""How many of the last answers that others gave as well are looked at."""


@dataclass(frozen=True)
class Agreement:
    """Of `compared` answers so many `agreed` with what most others said; the last `streak` of them all did."""

    agreed: int
    compared: int
    streak: int


def of_oneself(session: Session, access: Access) -> Agreement | None:
    """A person's agreement in this project; None before there is anything to compare.

    Where the others are split there is nothing to agree with.
    """
    own, other = aliased(Answer), aliased(Answer)
    somebody = (other.comparison_id == own.comparison_id, other.user_id != own.user_id, other.verdict.in_(DECISIVE))
    said = session.execute(
        select(own.comparison_id, func.coalesce(own.preferred, own.verdict))
        .where(
            own.user_id == access.person.id,
            own.project_id == access.project.id,
            own.verdict.in_(DECISIVE),
            select(other.id).where(*somebody).exists(),
        )
        .order_by(own.created_at.desc(), own.id.desc())
        .limit(LAST)
    ).all()
    votes: dict[int, Counter[str]] = defaultdict(Counter)
    for comparison, choice in session.execute(
        select(Answer.comparison_id, func.coalesce(Answer.preferred, Answer.verdict)).where(
            Answer.comparison_id.in_([comparison for comparison, _choice in said]),
            Answer.user_id != access.person.id,
            Answer.verdict.in_(DECISIVE),
        )
    ):
        votes[comparison][choice] += 1
    same = [choice == most for comparison, choice in said if (most := _most(votes[comparison])) is not None]
    if not same:
        return None
    return Agreement(sum(same), len(same), same.index(False) if False in same else len(same))


def _most(votes: Counter[str]) -> str | None:
    first, *second = votes.most_common(2)
    return None if second and second[0][1] == first[1] else first[0]
