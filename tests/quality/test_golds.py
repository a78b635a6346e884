"""Gold comparisons on the quality pages: made from what is clear, listed with how people answered, ended again."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Comparison, Project, User
from app.quality.annotators import figures_of
from app.quality.given import newest
from tests.labeling.pairs import make_comparison, make_gold
from tests.people import browse_as
from tests.quality.scene import given, say

GOLD = "/projects/garden/quality/gold"


@pytest.fixture
def agreed(session: Session, project: Project, alice: User, carol: User) -> Comparison:
    """Alice and Carol prefer the second response."""
    comparison = make_comparison(session, project, "Which <tree>?", a="The oak.", b="The elm.")
    say(session, comparison, alice, "b2")
    say(session, comparison, carol, "b1")
    return comparison


def address(comparison: Comparison) -> str:
    return f"/projects/garden/quality/comparisons/{comparison.id}"


def made(session: Session) -> list[tuple[str | None, str | None, str]]:
    rows = session.scalars(select(Comparison).where(Comparison.purpose == "gold").order_by(Comparison.id))
    return [(each.expected_verdict, each.expected_preferred, each.status) for each in rows]


def test_what_people_agree_about_is_proposed_and_becomes_gold_and_ends(
    client: TestClient, session: Session, agreed: Comparison, bob: User
) -> None:
    browser = browse_as(client, session, bob)
    shown = browser.get(GOLD).text
    assert "Which &lt;tree&gt;?" in shown
    assert "Use as gold: B better" in shown
    assert "Use as gold: B better" in browser.get(address(agreed)).text
    assert browser.post(f"{address(agreed)}/gold").headers["location"] == GOLD
    assert made(session) == [("preferred", "b", "waiting")]
    assert "Use as gold" not in browser.get(GOLD).text, "it is no proposal any more"
    assert browser.post(f"{address(agreed)}/gold").status_code == 409
    gold = session.scalars(select(Comparison).where(Comparison.purpose == "gold")).one()
    assert "Expected: B better." in browser.get(address(gold)).text
    assert browser.post(f"{address(gold)}/gold/end").headers["location"] == GOLD
    assert made(session) == [("preferred", "b", "withdrawn")]
    assert browser.post(f"{address(agreed)}/gold/end").status_code == 404
    assert agreed.status == "complete"


def test_an_admins_own_decision_becomes_gold_where_they_tick_it(
    client: TestClient, session: Session, agreed: Comparison, bob: User
) -> None:
    browser = browse_as(client, session, bob)
    assert browser.post(address(agreed), data={"choice": "tie", "gold": "true"}).status_code == 303
    assert made(session) == [("tie", None, "waiting")]


def test_what_is_split_or_waits_does_not_become_gold_and_operators_only_look(
    client: TestClient, session: Session, project: Project, agreed: Comparison, alice: User, bob: User, olga: User
) -> None:
    split = make_comparison(session, project, "Split?")
    say(session, split, alice, "a1")
    say(session, split, bob, "b1")
    waits = make_comparison(session, project, "Waits?")
    browser = browse_as(client, session, bob)
    for comparison in (split, waits):
        assert browser.post(f"{address(comparison)}/gold").status_code == 409
    browser = browse_as(client, session, olga)
    assert "Use as gold" not in browser.get(GOLD).text
    assert browser.post(f"{address(agreed)}/gold").status_code == 403
    assert made(session) == []


def test_the_list_shows_how_people_answered_and_the_figures_follow_what_is_known(
    client: TestClient, session: Session, project: Project, alice: User, carol: User, bob: User
) -> None:
    gold = make_gold(session, project, right="a")
    say(session, gold, alice, "a1", measures=True, seconds_client=30.0)
    say(session, gold, carol, "b3", measures=True)
    gold.status = "waiting"
    session.flush()
    browser = browse_as(client, session, bob)
    # One of two, by Wilson.
    assert '50 % <span class="range">[9, 91]</span>' in browser.get(GOLD).text
    answers = newest(session, project)
    figures = {
        person.id: figures_of([each for each in answers if each.person == person.id], {}) for person in (alice, carol)
    }
    assert (figures[alice.id].gold.value, figures[carol.id].gold.value) == (1, 0)
    assert figures[alice.id].gold_a_minute == 2.0, "one in thirty seconds"
    shown = browser.get("/projects/garden/quality").text
    assert "Agrees with gold" in shown
    assert "no comparison has answers by two people" in shown, "gold says nothing of agreement among people"
    read = client.get("/api/v1/projects/garden/quality").json()
    assert [one["gold"]["of"] for one in read["annotators"]] == [1, 1]
    gold.status = "withdrawn"
    session.flush()
    assert [answer.expected for answer in newest(session, project)] == [None, None]


def test_taking_back_is_counted_beside_what_stayed() -> None:
    figures = figures_of([given(1, 1, "a1", undone=2), given(1, 2, "a1")], {})
    # Two were taken back of four that were given.
    assert (figures.undone.hits, figures.undone.trials) == (2, 4)
