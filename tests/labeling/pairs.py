"""Comparisons to answer, each made in one line."""

from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from app.accounts.access import Access, find_project
from app.labeling import answers, golds, leases
from app.labeling.answers import Spoken
from app.labeling.comparisons import add_comparison, add_response, find_or_add_prompt
from app.models import Answer, Assignment, Comparison, Project, User

LEFT = Spoken("preferred", "left", 2)
RIGHT = Spoken("preferred", "right", 2)
SKIP = Spoken("skipped", skip_reason="too_long")


def make_comparison(
    session: Session, project: Project, question: str = "Name a tree.", a: str = "Oak", b: str = "Elm", **more: Any
) -> Comparison:
    """A comparison of two imported answers to a question."""
    messages = [{"role": "user", "content": question}]
    prompt, _ = find_or_add_prompt(session, project, messages, sampled=False)
    responses = [add_response(session, prompt, text, source="import") for text in (a, b)]
    return add_comparison(session, project, prompt, *responses, source="import", **more)


def make_comparisons(session: Session, project: Project, n: int, **more: Any) -> list[Comparison]:
    """Several comparisons, oldest first."""
    return [make_comparison(session, project, f"Name tree number {each}.", **more) for each in range(1, n + 1)]


def make_gold(
    session: Session, project: Project, question: str = "Name a metal.", right: str = "a", **more: Any
) -> Comparison:
    """A gold comparison of two imported answers, of which this choice is right; nobody met its responses before."""
    verdict, preferred = ("preferred", right) if right in ("a", "b") else (right, None)
    ordinary = make_comparison(session, project, question, "Iron", "Wood", **more)
    ordinary.status = "withdrawn"
    return golds.make(session, ordinary, verdict, preferred)


def make_golds(session: Session, project: Project, n: int, right: str = "a") -> list[Comparison]:
    """Several gold comparisons."""
    return [make_gold(session, project, f"Name metal number {each}.", right) for each in range(1, n + 1)]


def label(session: Session, access: Access, spoken: Spoken = LEFT) -> Comparison | None:
    """Answer the next pair of this person and say which it was; None where there is none."""
    assignment = leases.claim(session, access)
    if assignment is None:
        return None
    answers.record(session, access, assignment.id, spoken)
    return assignment.comparison


def label_all(session: Session, access: Access, spoken: Spoken = LEFT) -> list[Comparison]:
    """Answer pairs until nothing is left for this person."""
    found = []
    while (comparison := label(session, access, spoken)) is not None:
        found.append(comparison)
    return found


def access_of(session: Session, person: User, project: Project) -> Access:
    """What the guard of the label page gives its route."""
    return find_project(session, person, project.slug, "annotator")


def lapse(session: Session, assignment: Assignment) -> None:
    """Let the lease's time run out, as after fifteen minutes without a sign of life."""
    assignment.leased_until = assignment.leased_until - timedelta(hours=1)
    session.flush()


def meant(answer: Answer) -> tuple[str, str | None, int | None]:
    return answer.verdict, answer.preferred, answer.strength
