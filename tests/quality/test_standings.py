"""An annotator's page, and what an admin decides there: pause and resume, exclude and include, each with a reason."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.datasets import snapshots
from app.datasets.filters import Filters
from app.labeling import leases
from app.models import Project, Standing, User
from tests.labeling.pairs import access_of, make_comparisons
from tests.people import bearer, browse_as, make_person, make_project
from tests.quality.scene import MONDAY, say

LABEL = "/projects/garden/label"


@pytest.fixture
def page(session: Session, project: Project, alice: User, carol: User) -> str:
    """Alice has answered four comparisons in two weeks; Carol said otherwise about the last."""
    made = make_comparisons(session, project, 6)
    for number, comparison in enumerate(made[:4]):
        say(session, comparison, alice, "a1", created_at=MONDAY + timedelta(weeks=number // 2))
        say(session, comparison, carol, "b3" if number == 3 else "a1", rationale="The <elm> is right.")
    return f"/projects/garden/quality/annotators/{alice.id}"


def standing(session: Session, person: User) -> Standing | None:
    return session.scalar(
        select(Standing).where(Standing.user_id == person.id).execution_options(populate_existing=True)
    )


def test_it_shows_figures_with_intervals_weeks_and_where_others_differ(
    client: TestClient, session: Session, page: str, bob: User
) -> None:
    shown = browse_as(client, session, bob).get(page).text
    assert "Alice" in shown
    # Three of four, by Wilson.
    assert '75 % <span class="range">[30, 95]</span>' in shown
    assert shown.count("<svg viewBox") == 2
    assert '<time datetime="2026-03-09">' in shown
    assert "Name tree number 4." in shown
    assert "Name tree number 3." not in shown
    assert "The &lt;elm&gt; is right." in shown
    assert "36 more answers that prefer one response are needed" in shown


def test_who_is_paused_gets_no_pair_and_reads_why(
    client: TestClient, session: Session, project: Project, page: str, alice: User, bob: User
) -> None:
    assert leases.claim(session, access_of(session, alice, project)) is not None
    decided = browse_as(client, session, bob).post(f"{page}/pause", data={"reason": " We <talk> first. "})
    assert (decided.status_code, decided.headers["location"]) == (303, page)
    shown = client.get(page).text
    assert "We &lt;talk&gt; first." in shown
    assert "The last decision was made by Bob." in shown
    browse_as(client, session, alice)
    desk = client.get(LABEL).text
    assert "An admin paused your labelling in this project: We &lt;talk&gt; first." in desk
    assert client.post("/api/v1/projects/garden/assignments", headers=bearer(session, alice)).status_code == 204
    browse_as(client, session, bob).post(f"{page}/resume")
    assert leases.claim(session, access_of(session, alice, project)) is not None
    assert standing(session, alice).paused_because is None


def test_a_pause_is_of_one_project_and_one_person(
    client: TestClient, session: Session, project: Project, page: str, alice: User, carol: User, bob: User
) -> None:
    browse_as(client, session, bob).post(f"{page}/pause", data={"reason": "Slow down."})
    meadow = make_project(session, "meadow")
    make_comparisons(session, meadow, 1)
    assert leases.claim(session, access_of(session, alice, meadow)) is not None
    assert leases.claim(session, access_of(session, carol, project)) is not None


def test_the_answer_to_a_pair_in_hand_still_counts(
    client: TestClient, session: Session, project: Project, page: str, alice: User, bob: User
) -> None:
    held = leases.claim(session, access_of(session, alice, project))
    browse_as(client, session, bob).post(f"{page}/pause", data={"reason": "Slow down."})
    answer = {"verdict": "tie"}
    assert (
        client.post(f"/api/v1/assignments/{held.id}/answer", json=answer, headers=bearer(session, alice)).status_code
        == 200
    )


def test_excluded_answers_stay_out_of_new_snapshots_until_they_are_included_again(
    client: TestClient, session: Session, project: Project, page: str, bob: User
) -> None:
    whole = snapshots.take(session, project, Filters()).manifest["answers"]
    browser = browse_as(client, session, bob)
    browser.post(f"{page}/exclude", data={"reason": "A bot."})
    assert "since" in browser.get(page).text
    card = snapshots.take(session, project, Filters()).manifest
    assert whole - card["answers"] == 4
    assert [one["why"] for one in card["exclusions"]] == ["An admin excluded an annotator: A bot."]
    browser.post(f"{page}/include")
    assert snapshots.take(session, project, Filters()).manifest["answers"] == whole


def test_one_decision_leaves_the_other_alone(
    client: TestClient, session: Session, page: str, alice: User, bob: User
) -> None:
    browser = browse_as(client, session, bob)
    browser.post(f"{page}/pause", data={"reason": "Slow down."})
    browser.post(f"{page}/exclude", data={"reason": "A bot."})
    browser.post(f"{page}/resume")
    found = standing(session, alice)
    assert (found.paused_at, found.excluded_because, found.decided_by_id) == (None, "A bot.", bob.id)


@pytest.mark.parametrize(("reason", "why"), [("  ", "Say why in a few words"), ("x" * 501, "500 characters")])
@pytest.mark.parametrize("decision", ["pause", "exclude"])
def test_without_a_usable_reason_nothing_is_decided(
    client: TestClient, session: Session, page: str, alice: User, bob: User, decision: str, reason: str, why: str
) -> None:
    refused = browse_as(client, session, bob).post(f"{page}/{decision}", data={"reason": reason})
    assert refused.status_code == 422
    assert why in refused.text
    assert standing(session, alice) is None


def test_admins_decide_about_those_who_answered_here(
    client: TestClient, session: Session, project: Project, page: str, alice: User, bob: User, olga: User
) -> None:
    reason = {"reason": "No."}
    for person in (alice, olga):
        assert browse_as(client, session, person).post(f"{page}/pause", data=reason).status_code == 403
    assert "Pause their labelling" not in browse_as(client, session, olga).get(page).text
    browser = browse_as(client, session, bob)
    assert "Pause their labelling" in browser.get(page).text
    stranger = make_person(session, "stranger", "annotator")
    elsewhere = f"/projects/garden/quality/annotators/{stranger.id}"
    assert browser.get(elsewhere).status_code == 404
    assert browser.post(f"{elsewhere}/pause", data=reason).status_code == 404
    assert browser.post(f"{page}/praise", data=reason).status_code == 404
    assert browser.get("/projects/garden/quality/annotators/0").status_code in (404, 422)
