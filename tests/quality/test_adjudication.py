"""Where people disagree an admin decides: with an answer of their own, and nobody's answer is changed."""

import re
from collections import Counter

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.datasets import snapshots
from app.datasets.filters import Filters
from app.models import Answer, Assignment, Comparison, Project, User
from app.quality.given import by_comparison, consensus, newest
from tests.labeling.pairs import make_comparison, make_comparisons
from tests.people import browse_as, make_person
from tests.quality.scene import say

QUEUE = "/projects/garden/quality/disagreements"


@pytest.fixture
def split(session: Session, project: Project, alice: User, carol: User) -> Comparison:
    comparison = make_comparison(session, project, "Which <tree>?", a="The oak.", b="The elm.")
    say(session, comparison, alice, "a2", rationale="Oaks are <strong>.")
    say(session, comparison, carol, "b1", rationale="Elms are tall.")
    return comparison


def address(comparison: Comparison) -> str:
    return f"/projects/garden/quality/comparisons/{comparison.id}"


def on_the_left(shown: str) -> str:
    found = re.search(r'id="left".*?<p[^>]*>(\w+)</p>', shown, re.DOTALL)
    assert found
    return found[1]


def decided(session: Session, comparison: Comparison) -> Answer:
    return session.scalars(select(Answer).where(Answer.comparison_id == comparison.id, Answer.adjudicates)).one()


def test_the_queue_shows_both_sides_newest_first_and_only_what_has_all_its_answers(
    client: TestClient, session: Session, project: Project, split: Comparison, alice: User, carol: User, bob: User
) -> None:
    newer, alike, unfinished = make_comparisons(session, project, 3)
    for comparison, other in ((newer, "b1"), (alike, "a3"), (unfinished, "b1")):
        say(session, comparison, alice, "a1")
        say(session, comparison, carol, other)
    unfinished.status = "waiting"
    session.flush()
    shown = browse_as(client, session, bob).get(QUEUE).text
    assert re.findall(r"quality/comparisons/(\d+)", shown) == [str(newer.id), str(split.id)]
    assert "Which &lt;tree&gt;?" in shown
    assert "Oaks are &lt;strong&gt;." in shown
    assert "A better" in shown
    assert "B slightly better" in shown


def test_operators_get_to_what_the_reward_model_says_of_the_two(
    client: TestClient, session: Session, project: Project, split: Comparison, bob: User
) -> None:
    inspector = f"/projects/garden/checkpoints/inspector?comparison={split.id}"
    assert inspector not in browse_as(client, session, bob).get(address(split)).text
    both = make_person(session, "both", "admin", "operator")
    assert inspector in browse_as(client, session, both).get(address(split)).text


def test_an_admins_answer_decides_and_changes_nobody_elses(
    client: TestClient, session: Session, project: Project, split: Comparison, bob: User
) -> None:
    before = session.execute(select(Answer.id, Answer.preferred, Answer.revision).order_by(Answer.id)).all()
    browser = browse_as(client, session, bob)
    opened = browser.get(address(split)).text
    assert 'id="left-title"' in opened
    assert 'value="left-3"' in opened
    sent = browser.post(address(split), data={"choice": "right-3", "rationale": "It is."})
    assert (sent.status_code, sent.headers["location"]) == (303, QUEUE)
    answer = decided(session, split)
    right = "b" if answer.assignment.shown_left == "a" else "a"
    assert (answer.preferred, answer.strength, answer.user_id) == (right, 3, bob.id)
    after = session.execute(select(Answer.id, Answer.preferred, Answer.revision).order_by(Answer.id)).all()
    assert after[:-1] == before
    assert consensus(by_comparison(newest(session, project))[split.id]) == right
    assert "Nothing to decide" in browser.get(QUEUE).text


def test_for_training_the_decision_is_one_more_answer(
    client: TestClient, session: Session, project: Project, split: Comparison, bob: User
) -> None:
    browse_as(client, session, bob).post(address(split), data={"choice": "left-2"})
    sided = decided(session, split).preferred
    (batch,) = snapshots.taken_rows(snapshots.take(session, project, Filters()))
    # Two thirds against one, not the one that decides alone.
    assert Counter(batch["preferred"].to_pylist()) == {sided: 2, "b" if sided == "a" else "a": 1}


def test_the_sides_stay_as_they_were_opened(
    client: TestClient, session: Session, project: Project, bob: User, alice: User, carol: User
) -> None:
    browser = browse_as(client, session, bob)
    lefts = set()
    for comparison in make_comparisons(session, project, 12):
        say(session, comparison, alice, "a1")
        say(session, comparison, carol, "b1")
        first = on_the_left(browser.get(address(comparison)).text)
        assert first == on_the_left(browser.get(address(comparison)).text)
        browser.post(address(comparison), data={"choice": "left-1"})
        chosen = decided(session, comparison)
        assert getattr(comparison, f"response_{chosen.preferred}").text == first
        lefts.add(first)
    # Drawn by lot: all twelve alike happen once in two thousand times.
    assert lefts == {"Oak", "Elm"}


def test_the_same_sent_twice_is_one_answer_and_another_one_is_refused(
    client: TestClient, session: Session, split: Comparison, bob: User
) -> None:
    browser = browse_as(client, session, bob)
    for _ in range(2):
        assert browser.post(address(split), data={"choice": "left-1"}).status_code == 303
    assert browser.post(address(split), data={"choice": "right-1"}).status_code == 409
    assert decided(session, split).revision == 1


def test_a_form_without_a_choice_keeps_what_was_typed(
    client: TestClient, session: Session, split: Comparison, bob: User
) -> None:
    refused = browse_as(client, session, bob).post(address(split), data={"rationale": "Because <so>."})
    assert refused.status_code == 422
    assert "Because &lt;so&gt;." in refused.text
    assert session.scalar(select(Answer).where(Answer.adjudicates)) is None


def test_a_skip_decides_nothing_and_is_not_kept(
    client: TestClient, session: Session, split: Comparison, bob: User
) -> None:
    browser = browse_as(client, session, bob)
    for sent in ({"skip_reason": "too_long"}, {"choice": "cannot_judge"}):
        assert browser.post(address(split), data=sent).status_code == 422
    assert session.scalar(select(Answer).where(Answer.adjudicates)) is None


def test_who_answered_it_does_not_decide_it(
    client: TestClient, session: Session, project: Project, split: Comparison, bob: User, alice: User
) -> None:
    alice.roles = ["annotator", "admin"]
    session.flush()
    browser = browse_as(client, session, alice)
    assert "You answered this comparison yourself" in browser.get(address(split)).text
    refused = browser.post(address(split), data={"choice": "left-3"})
    assert refused.status_code == 409
    assert session.scalar(select(Answer).where(Answer.adjudicates)) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": "waiting"}, "still waits for answers"),
        ({"source": "chat"}, "theirs alone"),
    ],
)
def test_what_cannot_be_decided_says_why(
    client: TestClient, session: Session, split: Comparison, bob: User, change: dict[str, str], why: str
) -> None:
    for name, value in change.items():
        setattr(split, name, value)
    session.flush()
    browser = browse_as(client, session, bob)
    assert why in browser.get(address(split)).text
    assert browser.post(address(split), data={"choice": "left-3"}).status_code == 409


def test_operators_look_and_admins_decide(
    client: TestClient, session: Session, project: Project, split: Comparison, olga: User
) -> None:
    browser = browse_as(client, session, olga)
    assert "Admins adjudicate" in browser.get(address(split)).text
    assert session.scalar(select(Assignment).where(Assignment.user_id == olga.id)) is None
    assert browser.post(address(split), data={"choice": "left-3"}).status_code == 403


def test_another_projects_comparison_is_not_there(client: TestClient, session: Session, split: Comparison) -> None:
    from tests.people import make_project

    make_project(session, "meadow")
    browser = browse_as(client, session, make_person(session, "ben", "admin"))
    elsewhere = address(split).replace("garden", "meadow")
    assert browser.get(elsewhere).status_code == 404
    assert browser.post(elsewhere, data={"choice": "left-1"}).status_code == 404
