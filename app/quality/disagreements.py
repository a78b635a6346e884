"""Comparisons on which people disagree, newest first, until somebody adjudicates."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Comparison
from app.quality.given import Given, by_comparison

STRONGLY = 3
SHOWN = 30


def disagree(answers: Sequence[Given]) -> bool:
    """Whether answers to one comparison contradict each other and nobody has adjudicated yet.

    That is: both responses were preferred, by whom and how much ever, or one person preferred one of them strongly and
    another found them about the same. Both bad contradicts nothing: the better of two bad responses is one, too.
    """
    if any(answer.adjudicates for answer in answers):
        return False
    choices = {answer.choice for answer in answers}
    strongly = any(answer.strength == STRONGLY for answer in answers)
    return {"a", "b"} <= choices or ("tie" in choices and strongly)


def waiting(session: Session, answers: Sequence[Given]) -> list[int]:
    """The comparisons to adjudicate, by their newest answer; those that still wait for answers come later."""
    split = [comparison for comparison, said in by_comparison(answers).items() if disagree(said)]
    complete = set(
        session.scalars(select(Comparison.id).where(Comparison.id.in_(split), Comparison.status == "complete"))
    )
    return [comparison for comparison in split if comparison in complete]
