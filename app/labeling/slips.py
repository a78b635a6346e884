"""What slips in between the pairs that wait: gold comparisons, and one's own earlier pairs with the sides changed.

Nothing tells it from the others: it comes in the place of a pair that waits, at a rate that the project sets, and who
lets it go finds it again when they come back.
"""

import random
from datetime import timedelta

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, aliased

from app.accounts.access import Access
from app.labeling import golds
from app.models import DECISIVE, Answer, Assignment, Comparison, Prompt, now
from app.models.policies import Labeling

APART = 20
"""Answers that lie between a pair and its own repeat at least, so that nobody just repeats what they remember."""
LATER = timedelta(minutes=10)
"""The time that lies between them at least."""
LOOK = 200
"""So many of the answers before that are looked at; a pair that is older does not come again."""


def draw(session: Session, access: Access) -> tuple[Comparison, str | None] | None:
    """What comes instead of the next pair, by lot, and which response stands on the left where that is not open."""
    policy = Labeling.from_json(access.project.labeling)
    lot = random.SystemRandom().uniform(0, 100)
    if lot < policy.gold:
        found = gold(session, access)
        return None if found is None else (found, None)
    if lot < policy.gold + policy.own_repeats:
        return _own(session, access)
    return None


def gold(session: Session, access: Access) -> Comparison | None:
    """A gold comparison that this person never met, by lot."""
    return session.scalar(golds.unseen_by(access).order_by(func.random()).limit(1))


def _own(session: Session, access: Access) -> tuple[Comparison, str] | None:
    """One of this person's earlier pairs, made anew for them alone, and its response that stands on the left now."""
    before = (
        select(Answer)
        .where(Answer.user_id == access.person.id, Answer.project_id == access.project.id)
        .order_by(Answer.created_at.desc())
        .offset(APART)
        .limit(LOOK)
        .subquery()
    )
    answer, other = aliased(Answer, before), aliased(Comparison)
    seen_again = exists().where(
        other.id != Comparison.id,
        other.response_a_id.in_((Comparison.response_a_id, Comparison.response_b_id)),
        other.response_b_id.in_((Comparison.response_a_id, Comparison.response_b_id)),
        Assignment.comparison_id == other.id,
        Assignment.user_id == access.person.id,
    )
    shown = aliased(Assignment)
    found = session.execute(
        select(Comparison, shown.shown_left)
        .join(answer, answer.comparison_id == Comparison.id)
        .join(shown, shown.id == answer.assignment_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .where(
            answer.verdict.in_(DECISIVE),
            answer.created_at < now() - LATER,
            ~answer.adjudicates,
            ~answer.measures,
            Prompt.withdrawn_at.is_(None),
            ~seen_again,
        )
        .order_by(func.random())
        .limit(1)
    ).first()
    if found is None:
        return None
    pair, left_then = found
    again = Comparison(
        project_id=pair.project_id,
        prompt_id=pair.prompt_id,
        response_a_id=pair.response_a_id,
        response_b_id=pair.response_b_id,
        purpose="repeat",
        source=pair.source,
        needs=pair.needs,
        asks_id=access.person.id,
    )
    session.add(again)
    session.flush()
    return again, "b" if left_then == "a" else "a"
