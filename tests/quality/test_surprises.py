"""What the newest reward model found surprising, and asking people again about it."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Comparison, Project, Run, User
from tests.labeling.pairs import make_comparisons
from tests.people import browse_as
from tests.quality.scene import say

PAGE = "/projects/garden/quality/surprises"


def make_run(session: Session, project: Project, *listed: tuple[Comparison, float]) -> Run:
    surprising = [{"comparison": str(one.id), "probability": chance} for one, chance in listed]
    run = Run(project_id=project.id, kind="reward", status="succeeded", result={"surprising": surprising})
    session.add(run)
    session.flush()
    return run


@pytest.fixture
def surprising(session: Session, project: Project, alice: User) -> Comparison:
    older, worst, mild = make_comparisons(session, project, 3)
    for comparison in (older, worst, mild):
        say(session, comparison, alice, "a3")
    make_run(session, project, (older, 0.001))
    make_run(session, project, (worst, 0.012), (mild, 0.3))
    return worst


def repeats(session: Session) -> list[Comparison]:
    return list(session.scalars(select(Comparison).where(Comparison.purpose == "repeat")))


def test_it_lists_what_the_newest_reward_model_found_least_likely(
    client: TestClient, session: Session, surprising: Comparison, olga: User
) -> None:
    shown = browse_as(client, session, olga).get(PAGE).text
    assert shown.index("Name tree number 2.") < shown.index("Name tree number 3.")
    assert "Name tree number 1." not in shown
    assert "a chance of 1.2 %" in shown
    assert f"quality/comparisons/{surprising.id}" in shown
    assert "Ask people again" not in shown


def test_an_admin_puts_it_before_people_again_once(
    client: TestClient, session: Session, surprising: Comparison, bob: User
) -> None:
    browser = browse_as(client, session, bob)
    assert browser.get(PAGE).text.count("Ask people again") == 2
    again = f"/projects/garden/quality/comparisons/{surprising.id}/repeat"
    assert browser.post(again).headers["location"] == PAGE
    (repeat,) = repeats(session)
    assert (repeat.response_a_id, repeat.response_b_id) == (surprising.response_a_id, surprising.response_b_id)
    assert repeat.status == "waiting"
    shown = browser.get(PAGE).text
    assert shown.count("Ask people again") == 1
    assert "People are asked about it again, or were." in shown
    refused = browser.post(again)
    assert refused.status_code == 409
    assert "again already" in refused.text
    assert len(repeats(session)) == 1


@pytest.mark.parametrize(
    ("change", "why"), [({"status": "waiting"}, "still waits"), ({"source": "feedback"}, "theirs alone")]
)
def test_what_is_not_asked_again_says_why(
    client: TestClient, session: Session, surprising: Comparison, bob: User, change: dict[str, str], why: str
) -> None:
    for name, value in change.items():
        setattr(surprising, name, value)
    session.flush()
    refused = browse_as(client, session, bob).post(f"/projects/garden/quality/comparisons/{surprising.id}/repeat")
    assert refused.status_code == 409
    assert why in refused.text
    assert repeats(session) == []


def test_operators_do_not_ask_again(client: TestClient, session: Session, surprising: Comparison, olga: User) -> None:
    again = f"/projects/garden/quality/comparisons/{surprising.id}/repeat"
    assert browse_as(client, session, olga).post(again).status_code == 403


def test_without_a_model_or_a_surprise_it_says_so(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    browser = browse_as(client, session, bob)
    assert "No reward model has been trained" in browser.get(PAGE).text
    make_run(session, project)
    assert "Nothing people said surprised" in browser.get(PAGE).text
