"""A project with one answer of every kind, made the same way for every test."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from app.models import Answer, Assignment, Comparison, Project, User
from app.prompts import comparisons
from app.prompts.bodies import Entry
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import make_person, make_project

DAY = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


@dataclass
class Scene:
    project: Project
    alice: User
    bob: User
    answers: list[Answer]
    """Preferred A, preferred B, tie, skipped, simulated, imported; a day apart, in this order."""


def make_scene(session: Session, slug: str = "garden") -> Scene:
    project = make_project(session, slug)
    alice, bob = make_person(session, f"alice-{slug}", "annotator"), make_person(session, f"bob-{slug}", "admin")
    robot = make_person(session, f"robot-{slug}", "annotator", kind="simulated")
    said = [("preferred", alice), ("preferred", bob), ("tie", alice), ("skipped", alice), ("preferred", robot)]
    answers = []
    for number, (verdict, person) in enumerate(said):
        prompt = make_prompt(session, project, f"Question {number} of {slug}?", holdout=number == 1)
        comparison = make_comparison(session, prompt, purpose="evaluation" if number == 2 else "train")
        answers.append(_answer(session, comparison, person, verdict))
    answers[0].rationale, answers[0].criteria = "It is right.", {"helpful": 2, "honest": "a"}
    answers[0].flags = ["broken"]
    answers[1].preferred, answers[1].strength, answers[1].seconds_client = "b", 3, None
    answers[3].skip_reason = "unclear"
    answers[4].simulated = True
    imported = {"prompt": f"Imported into {slug}?", "chosen": "Yes.", "rejected": "No."}
    comparisons.add(session, project, iter([Entry(1, imported, b"")]))
    answers.append(session.query(Answer).filter_by(project_id=project.id, source="import").one())
    for number, answer in enumerate(answers):
        answer.created_at = DAY + timedelta(days=number)
    session.flush()
    return Scene(project, alice, bob, answers)


def _answer(session: Session, comparison: Comparison, person: User, verdict: str) -> Answer:
    lease = {"leased_until": DAY, "claimed_at": DAY, "shown_left": "b", "status": "answered"}
    assignment = Assignment(project_id=comparison.project_id, comparison_id=comparison.id, user_id=person.id, **lease)
    session.add(assignment)
    session.flush()
    answer = make_answer(session, comparison, person, verdict)
    answer.assignment_id, answer.guideline_version = assignment.id, 1
    answer.seconds_client, answer.seconds_server = 4.5, 6.0
    return answer
