"""Answers to judge the quality by, each made in one line."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from app.models import Answer, Assignment, Comparison, User, now
from app.quality.given import Given

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)


def given(person: int, comparison: int, said: str, **more: Any) -> Given:
    """What `newest` reads: `a2` is the first response, better; `tie`, `both_bad`, `skipped` stand for themselves."""
    preferred, strength = (said[0], int(said[1])) if said[0] in "ab" and len(said) == 2 else (None, None)
    usual: dict[str, Any] = {
        "id": comparison * 100 + person,
        "pair": (2 * comparison, 2 * comparison + 1),
        "first": "a",
        "shown_left": "a",
        "seconds_client": 10.0,
        "seconds_server": 12.0,
        "created": MONDAY,
        "revision": 1,
        "adjudicates": False,
    }
    verdict = "preferred" if preferred else said
    spoken = {"person": person, "comparison": comparison, "verdict": verdict, "preferred": preferred}
    return Given(**{**usual, **spoken, "strength": strength, **more})


def say(session: Session, comparison: Comparison, person: User, said: str, **more: Any) -> Answer:
    """What somebody said of a comparison on the label page, in the words of `given`; the comparison is complete."""
    preferred, strength = (said[0], int(said[1])) if said[0] in "ab" and len(said) == 2 else (None, None)
    assignment = Assignment(
        project_id=comparison.project_id,
        comparison_id=comparison.id,
        user_id=person.id,
        shown_left=more.pop("shown_left", "a"),
        status="answered",
        leased_until=now(),
        claimed_at=now(),
    )
    session.add(assignment)
    session.flush()
    answer = Answer(
        project_id=comparison.project_id,
        comparison_id=comparison.id,
        assignment_id=assignment.id,
        user_id=person.id,
        verdict="preferred" if preferred else said,
        preferred=preferred,
        strength=strength,
        source="page",
        simulated=person.kind == "simulated",
        **{"seconds_client": 10.0, "seconds_server": 12.0, **more},
    )
    comparison.status = "complete"
    session.add(answer)
    session.flush()
    return answer
