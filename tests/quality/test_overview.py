"""The quality page: agreement, a table of annotators, and what an answer costs; for admins and operators alone."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import Project, Standing, User, now
from tests.labeling.pairs import make_comparisons
from tests.pairs import make_answer
from tests.people import bearer, browse_as, make_person
from tests.quality.scene import say

PAGE = "/projects/garden/quality"
API = "/api/v1/projects/garden/quality"


@pytest.fixture
def answered(session: Session, project: Project, alice: User, carol: User) -> None:
    """Four comparisons by two: three alike, one about the other side."""
    said = [("a1", "a1"), ("b3", "b1"), ("tie", "tie"), ("a2", "b2")]
    for comparison, words in zip(make_comparisons(session, project, 4), said, strict=True):
        for person, answer in zip((alice, carol), words, strict=True):
            say(session, comparison, person, answer)


def test_it_says_how_far_people_agree(
    client: TestClient, session: Session, project: Project, answered: None, bob: User
) -> None:
    shown = browse_as(client, session, bob).get(PAGE).text
    # Values: a a, b b, tie tie, a b. Of n = 8: n_a = 3, n_b = 3, n_tie = 2; observed disagreement 2, expected
    # 2 (3 * 3 + 3 * 2 + 3 * 2) = 42; alpha = 1 - 7 * 2 / 42 = 0.67.
    assert "People agreed on 75 % of pairs of answers. Krippendorff&#39;s alpha is 0.67 [" in shown
    assert f'href="{PAGE}/disagreements">One comparison waits for somebody to decide.' in shown


def test_the_api_has_the_same_figures(
    client: TestClient, session: Session, project: Project, answered: None, olga: User, alice: User
) -> None:
    found = client.get(API, headers=bearer(session, olga)).json()
    assert found["answers"] == 8
    assert found["nominal"]["comparisons"] == 4
    assert found["nominal"]["percent"] == 0.75
    assert found["nominal"]["alpha"] == pytest.approx(2 / 3)
    # One of four pairs agrees to the step, one is next to it and one at the middle.
    assert found["ordinal"]["percent"] == 0.5
    hers = next(one for one in found["annotators"] if one["annotator"] == str(alice.id))
    assert hers["agrees"] == {
        "share": 0.75,
        "of": 4,
        "low": pytest.approx(0.3006, abs=1e-4),
        "high": pytest.approx(0.9544, abs=1e-4),
    }
    assert (hers["answers"], hers["seconds"], hers["paused"], hers["excluded"]) == (4, 10.0, False, False)


def test_what_is_not_defined_is_explained(
    client: TestClient, session: Session, project: Project, bob: User, alice: User, carol: User
) -> None:
    browser = browse_as(client, session, bob)
    assert "there is nothing to judge" in browser.get(PAGE).text
    first, second = make_comparisons(session, project, 2)
    say(session, first, alice, "a1")
    assert "no comparison has answers by two people" in browser.get(PAGE).text
    say(session, first, carol, "a1")
    assert "Alpha is not defined: all answers are the same" in browser.get(PAGE).text
    say(session, second, alice, "b1")
    say(session, second, carol, "b1")
    assert "alpha is 1.00 [1.00, 1.00]" in browser.get(PAGE).text
    assert client.get(API).json()["ordinal"]["alpha"] == 1


def test_simulated_annotators_imports_and_chats_are_nobodys_quality(
    client: TestClient, session: Session, project: Project, bob: User, alice: User
) -> None:
    robot = make_person(session, "robot", "annotator", kind="simulated")
    comparison, imported, chatted = make_comparisons(session, project, 3)
    say(session, comparison, robot, "a1")
    make_answer(session, chatted, alice, source="chat")
    make_answer(session, imported, alice, source="import").user_id = None
    session.flush()
    headers = bearer(session, bob)
    assert client.get(API, headers=headers).json()["answers"] == 0
    simulated = client.get(f"{API}?simulated=true", headers=headers).json()
    assert [one["annotator"] for one in simulated["annotators"]] == [str(robot.id)]
    assert "simulated annotators" in client.get(f"{PAGE}?simulated=true", headers=headers).text


def test_the_excluded_count_in_nobodys_figures_but_their_own(
    client: TestClient, session: Session, project: Project, answered: None, bob: User, alice: User, carol: User
) -> None:
    decided = {"excluded_at": now(), "excluded_because": "too fast"}
    session.add(Standing(project_id=project.id, user_id=carol.id, **decided))
    session.flush()
    found = client.get(API, headers=bearer(session, bob)).json()
    assert found["nominal"]["comparisons"] == 0
    agrees = {one["annotator"]: one["agrees"]["of"] for one in found["annotators"]}
    assert agrees == {str(alice.id): 0, str(carol.id): 4}


def test_it_says_what_an_answer_costs(
    client: TestClient, session: Session, project: Project, bob: User, alice: User
) -> None:
    for comparison, seconds in zip(make_comparisons(session, project, 3), (8.0, 10.0, 18.0), strict=True):
        say(session, comparison, alice, "a1", seconds_client=seconds, seconds_server=seconds + 1)
    shown = browse_as(client, session, bob).get(PAGE).text
    # Three answers in 36 seconds are 300 an hour.
    assert "less than 10.0 seconds. That makes 300 answers in an hour of work" in shown


def test_annotators_see_neither_the_pages_nor_the_way_there(
    client: TestClient, session: Session, project: Project, answered: None, alice: User, bob: User, olga: User
) -> None:
    parts = ("", f"/annotators/{alice.id}", "/disagreements", "/surprises", "/taste", "/comparisons/1")
    headers = bearer(session, alice)
    for part in parts:
        assert client.get(PAGE + part, headers=headers).status_code == 403
    assert client.get(API, headers=headers).status_code == 403
    assert client.get(API).status_code == 401
    browser = browse_as(client, session, alice)
    assert f'href="{PAGE}"' not in browser.get("/projects/garden").text
    for person in (bob, olga):
        assert f'href="{PAGE}"' in browse_as(client, session, person).get("/projects/garden").text
