"""Simulated annotators decide by their rule, slip as often as asked, and are refused under a person's name."""

import random

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Answer, Project
from app.simulation.annotators import Shown, SimulatedAnnotator, SimulationError, decide
from app.simulation.gold import RULES
from tests.pairs import make_comparison, make_prompt
from tests.people import bearer, make_person, make_project

WARM = RULES["warm"]
COLD, KIND = Shown("1", "The engine has four cylinders."), Shown("2", "Thank you, my dear friend!")


def test_without_slips_the_better_response_is_preferred_on_either_side() -> None:
    chance = random.Random(1)
    for shown in ((COLD, KIND), (KIND, COLD)):
        decision = decide(WARM, shown, 0.0, chance)
        assert (decision.preferred, decision.strength, decision.slip) == ("2", 3, False)
    assert decide(WARM, (COLD, KIND), 0.0, chance).difference == -3


def test_equal_responses_are_a_tie_and_never_a_slip() -> None:
    decision = decide(WARM, (COLD, Shown("3", "Rain is water.")), 1.0, random.Random(1))
    assert (decision.preferred, decision.strength, decision.slip) == (None, None, False)


def test_slips_are_as_frequent_as_asked_and_come_back_with_the_seed() -> None:
    def slips(seed: int) -> list[bool]:
        chance = random.Random(seed)
        return [decide(WARM, (COLD, KIND), 0.1, chance).slip for _ in range(4000)]

    # Four standard deviations of a share of 0.1 in 4,000 are 0.019.
    assert abs(sum(slips(1)) / 4000 - 0.1) < 0.019
    assert slips(1) == slips(1) != slips(2)
    slipped = decide(WARM, (COLD, KIND), 1.0, random.Random(1))
    assert (slipped.preferred, slipped.slip) == ("1", True)


def pairs(session: Session, count: int) -> Project:
    """A project with pairs that differ in warmth, the warm one first."""
    project = make_project(session)
    for number in range(count):
        prompt = make_prompt(session, project, f"Question {number}?")
        comparison = make_comparison(session, prompt)
        comparison.response_a.text, comparison.response_b.text = KIND.text, COLD.text
    session.flush()
    return project


def annotator(client: TestClient, session: Session, kind: str, flips: float = 0.0) -> SimulatedAnnotator:
    robot = make_person(session, "robot", "annotator", kind=kind)
    client.headers.update(bearer(session, robot))
    return SimulatedAnnotator(client, "garden", WARM, flips, random.Random(1))


def test_it_answers_what_waits_and_every_answer_is_marked_as_simulated(client: TestClient, session: Session) -> None:
    pairs(session, 4)
    robot = annotator(client, session, "simulated")
    decisions = list(robot.answer(10, patience=0))
    assert [decision.slip for decision in decisions] == [False] * 4, "four pairs waited, then it gave up"
    stored = session.scalars(select(Answer)).all()
    assert [(one.verdict, one.preferred, one.strength, one.simulated) for one in stored] == [
        ("preferred", "a", 3, True)
    ] * 4
    assert (robot.tally.answers, robot.tally.ties, robot.tally.slips) == (4, 0, 0)
    assert robot.answer_next() is None


def test_a_slip_is_stored_as_the_other_response(client: TestClient, session: Session) -> None:
    pairs(session, 1)
    robot = annotator(client, session, "simulated", flips=1.0)
    assert robot.answer_next().slip
    assert session.scalars(select(Answer.preferred)).all() == ["b"]


def test_under_a_persons_name_it_takes_its_answer_back_and_stops(client: TestClient, session: Session) -> None:
    pairs(session, 1)
    with pytest.raises(SimulationError, match="belongs to a person"):
        annotator(client, session, "person").answer_next()
    assert session.scalars(select(Answer)).all() == []


def test_refusals_come_with_the_servers_own_sentence(client: TestClient, session: Session) -> None:
    robot = annotator(client, session, "simulated")
    with pytest.raises(SimulationError, match=r"404.*no project 'garden'"):
        robot.answer_next()
    nowhere = SimulatedAnnotator(httpx.Client(base_url="http://127.0.0.1:9"), "garden", WARM, 0.0, random.Random(1))
    with pytest.raises(SimulationError, match="does not answer"):
        nowhere.answer_next()
