"""The qualification round: so many gold comparisons first, what came of it is said, and an admin decides who is in."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.errors import Conflict
from app.labeling import answers, golds, leases, rounds
from app.models import Project, User
from tests.labeling.pairs import LEFT, SKIP, access_of, label, make_comparison, make_golds
from tests.people import browse_as, make_person, make_project

LABEL = "/projects/garden/label"


@pytest.fixture
def project(session: Session) -> Project:
    """Three practice pairs, of which two have to be right; the right ones are about the same."""
    project = make_project(session)
    project.labeling = {"qualification": 3, "qualification_share": 60}
    make_comparison(session, project)
    make_golds(session, project, 3, right="tie")
    return project


@pytest.fixture
def person(session: Session) -> User:
    return make_person(session, "alice", "annotator")


@pytest.fixture
def alice(session: Session, project: Project, person: User) -> Access:
    return access_of(session, person, project)


@pytest.fixture
def bob(session: Session, project: Project) -> Access:
    return access_of(session, make_person(session, "bob", "annotator", "admin"), project)


TIE = answers.Spoken("tie")


def practise(session: Session, access: Access, *said: answers.Spoken) -> None:
    for spoken in said:
        assert label(session, access, spoken).purpose == "gold"


@pytest.mark.parametrize(
    ("said", "right", "stage"),
    [((TIE, TIE, TIE), 3, "free"), ((TIE, LEFT, TIE), 2, "free"), ((TIE, SKIP, LEFT), 1, "short")],
)
def test_it_ends_with_its_last_answer_and_counts_what_is_right(
    session: Session, project: Project, alice: Access, said: tuple[answers.Spoken, ...], right: int, stage: str
) -> None:
    assert rounds.stage(session, alice) == "due"
    practise(session, alice, *said)
    round = rounds.of(session, project, alice.person)
    assert (round.asked, round.needed, round.right) == (3, 2, right)
    assert rounds.stage(session, alice) == stage
    following = leases.claim(session, alice)
    assert (following is None) == (stage == "short")
    assert following is None or following.comparison.purpose != "gold"


def test_what_came_of_it_stays_whatever_is_corrected_later(session: Session, project: Project, alice: Access) -> None:
    practise(session, alice, TIE, LEFT)
    last = leases.claim(session, alice)
    wrong = answers.record(session, alice, last.id, LEFT)
    answers.correct(session, alice, wrong.id, TIE)
    assert rounds.stage(session, alice) == "short"
    answers.undo(session, alice, last.id)
    assert last.status == "released", "nothing is handed out now"
    assert rounds.of(session, project, alice.person).right == 1


def test_nobody_is_kept_from_work_by_a_lack_of_gold(session: Session, project: Project, alice: Access) -> None:
    gold = leases.claim(session, alice)
    answers.record(session, alice, gold.id, TIE)
    for left in session.scalars(golds.unseen_by(alice)).all():
        golds.end(session, left)
    session.flush()
    assert leases.claim(session, alice).comparison.purpose != "gold"
    assert rounds.of(session, project, alice.person) is None
    project.labeling = {"qualification": 4}
    newcomer = access_of(session, make_person(session, "carol", "annotator"), project)
    assert rounds.stage(session, newcomer) == "free"


def test_who_worked_here_before_and_simulated_annotators_are_not_asked(
    session: Session, project: Project, alice: Access
) -> None:
    asked, project.labeling = project.labeling, {}
    label(session, alice)
    project.labeling = asked
    assert rounds.stage(session, alice) == "free"
    robot = access_of(session, make_person(session, "robot", "annotator", kind="simulated"), project)
    assert rounds.stage(session, robot) == "free"


def test_an_admin_lets_in_or_lets_practise_again_with_other_pairs(
    session: Session, project: Project, alice: Access, bob: Access
) -> None:
    with pytest.raises(Conflict, match="Nobody has to decide"):
        rounds.let_in(session, bob, alice.person, "No need.")
    practise(session, alice, LEFT, LEFT, LEFT)
    with pytest.raises(Conflict, match="Fewer than 3 gold comparisons are left"):
        rounds.ask_again(session, bob, alice.person, "Once more.")
    for each in range(3):
        make_golds(session, project, 1, right="both_bad")[0].prompt.tags = [str(each)]
    rounds.ask_again(session, bob, alice.person, "Once more.")
    assert rounds.stage(session, alice) == "open"
    practise(session, alice, LEFT, LEFT, LEFT)
    assert rounds.stage(session, alice) == "short"
    rounds.let_in(session, bob, alice.person, "We talked.")
    assert leases.claim(session, alice).comparison.purpose != "gold"
    round = rounds.of(session, project, alice.person)
    assert (round.decided_because, round.decided_by_id, round.right) == ("We talked.", bob.person.id, 0)


def test_the_page_says_what_comes_which_one_it_is_and_how_it_went(
    client: TestClient, session: Session, project: Project, person: User
) -> None:
    browser = browse_as(client, session, person)
    shown = browser.get(LABEL).text
    assert "3 practice pairs come first" in shown
    assert "When 2 of 3 come out as expected" in shown
    assert "data-assignment" not in shown
    assert browser.post(f"{LABEL}/practice").headers["location"] == LABEL
    for number in range(1, 4):
        shown = browser.get(LABEL).text
        assert f"Practice pair {number} of 3" in shown
        assignment = re.search(r'data-assignment="(\d+)"', shown)[1]
        browser.post(f"{LABEL}/{assignment}", data={"choice": "tie" if number < 3 else "left-1"})
    assert "2 of 3 came out as expected. From now on your answers teach the model." in browser.get(LABEL).text
    fragment = browser.post(f"{LABEL}/practice/seen", headers={"HX-Request": "true"}).text
    assert "Name a tree." in fragment
    assert "Practice pair" not in fragment


def test_who_falls_short_reads_a_friendly_sentence_and_the_admin_decides_on_their_page(
    client: TestClient, session: Session, project: Project, alice: Access, bob: Access
) -> None:
    practise(session, alice, LEFT, LEFT, LEFT)
    browser = browse_as(client, session, alice.person)
    assert "0 of 3 came out as expected; this project asks for 2." in browser.get(LABEL).text
    page = f"/projects/garden/quality/annotators/{alice.person.id}"
    browser = browse_as(client, session, bob.person)
    assert "fell short" in browser.get("/projects/garden/quality").text
    assert "Let them practise again" in browser.get(page).text
    assert browser.post(f"{page}/let-in", data={"reason": " "}).status_code == 422
    refused = browser.post(f"{page}/practice", data={"reason": "Once more."})
    assert (refused.status_code, "Fewer than 3" in refused.text) == (409, True)
    assert browser.post(f"{page}/let-in", data={"reason": "We <talked>."}).status_code == 303
    assert "We &lt;talked&gt;." in browser.get(page).text
    assert "Name a tree." in browse_as(client, session, alice.person).get(LABEL).text
