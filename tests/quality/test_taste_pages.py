"""Taste in sentences: for the project, for one annotator, and everybody's own; silent until there is enough to tell."""

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import Project, Standing, User, now
from tests.labeling.pairs import make_comparison
from tests.people import browse_as
from tests.quality.scene import say

OWN = "/projects/garden/taste"
ALL = "/projects/garden/quality/taste"


WORDS = ("Ash", "Beech", "Larch", "Sycamore", "Elm", "Hornbeam", "Oak")


def prefer(session: Session, project: Project, person: User, end: str, n: int, start: int = 0) -> None:
    """Let somebody prefer n times the text that ends so, "?" or ".", on either side by turns; other words vary."""
    for number in range(start, start + n):
        first = number % 2 == 0
        better, worse = WORDS[number % 7] + " it is" + end, WORDS[(3 * number + 1) % 7] + " it is" + ".?"[end == "."]
        texts = (better, worse) if first else (worse, better)
        comparison = make_comparison(session, project, f"Question {number}?", *texts)
        say(session, comparison, person, "a2" if first else "b2")


def test_too_few_answers_say_how_many_are_missing(
    client: TestClient, session: Session, project: Project, alice: User
) -> None:
    browser = browse_as(client, session, alice)
    assert "40 more answers that prefer one response are needed" in browser.get(OWN).text
    prefer(session, project, alice, "?", 39)
    comparison = make_comparison(session, project, "The last?")
    say(session, comparison, alice, "tie")
    assert "One more answer that prefers one response is needed" in browser.get(OWN).text


def test_a_clear_preference_becomes_a_sentence_for_each_reader(
    client: TestClient, session: Session, project: Project, alice: User, bob: User
) -> None:
    prefer(session, project, alice, "?", 40)
    question = "prefer answers that end with a question."
    assert f"You {question}" in browse_as(client, session, alice).get(OWN).text
    browser = browse_as(client, session, bob)
    assert f"People here {question}" in browser.get(ALL).text
    assert f"They {question}" in browser.get(f"/projects/garden/quality/annotators/{alice.id}").text


def test_the_opposite_preference_is_said_the_other_way_round(
    client: TestClient, session: Session, project: Project, alice: User
) -> None:
    prefer(session, project, alice, ".", 40)
    shown = browse_as(client, session, alice).get(OWN).text
    assert "You prefer answers that do not end with a question." in shown
    assert "You prefer answers that end" not in shown


def test_who_chooses_either_as_often_shows_no_taste(
    client: TestClient, session: Session, project: Project, alice: User
) -> None:
    prefer(session, project, alice, ".", 25)
    prefer(session, project, alice, "?", 25, start=25)
    shown = browse_as(client, session, alice).get(OWN).text
    assert "50 answers show no clear preference" in shown
    assert "You prefer" not in shown


def test_a_taste_is_ones_own_and_the_excluded_have_none_in_the_projects(
    client: TestClient, session: Session, project: Project, alice: User, carol: User, bob: User
) -> None:
    prefer(session, project, alice, "?", 40)
    prefer(session, project, carol, ".", 40, start=40)
    assert "You prefer answers that do not end" in browse_as(client, session, carol).get(OWN).text
    browser = browse_as(client, session, bob)
    assert "no clear preference" in browser.get(ALL).text
    session.add(Standing(project_id=project.id, user_id=carol.id, excluded_at=now(), excluded_because="A bot."))
    session.flush()
    assert "People here prefer answers that end with a question." in browser.get(ALL).text
