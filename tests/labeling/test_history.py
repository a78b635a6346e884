"""People find their own answers again, and change them."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.labeling import answers, choices, history, leases
from app.labeling.answers import Spoken
from app.lists import Asked
from app.models import Answer, Project, Snapshot, SnapshotAnswer, User
from tests.labeling.pairs import LEFT, RIGHT, SKIP, access_of, make_comparison
from tests.people import browse_as, make_person, make_project

PAGE = "/projects/garden/history"


@pytest.fixture
def garden(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def alice(session: Session) -> User:
    return make_person(session, "alice", "annotator")


@pytest.fixture
def browser(client: TestClient, session: Session, alice: User) -> TestClient:
    return browse_as(client, session, alice)


def answered(session: Session, person: User, project: Project, *questions: str, spoken: Spoken = LEFT) -> list[Answer]:
    """The person's answers to these questions, in this order."""
    access = access_of(session, person, project)
    kept = []
    for question in questions:
        make_comparison(session, project, question)
        assignment = leases.claim(session, access)
        assert assignment is not None
        kept.append(answers.record(session, access, assignment.id, spoken))
    return kept


def test_it_lists_one_s_own_answers_newest_first(
    browser: TestClient, session: Session, garden: Project, alice: User
) -> None:
    answered(session, alice, garden, "An oak?", "An elm?")
    answered(session, make_person(session, "bob", "annotator"), garden, "A birch?")
    answered(session, alice, make_project(session, "other"), "A yew?")
    shown = browser.get(PAGE).text
    assert shown.index("An elm?") < shown.index("An oak?")
    assert "A birch?" not in shown
    assert "A yew?" not in shown
    assert shown.count("A better") == 2


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ('"OAK', True),
        ("100%", True),
        ("100_", False),
        ("role", False),
        ("user", False),
        ('"oak" 1', True),
        ('"\x00oak', True),
    ],
)
def test_it_searches_the_text_of_the_prompt(
    session: Session, garden: Project, alice: User, search: str, found: bool
) -> None:
    answered(session, alice, garden, 'Is an "oak" 100% wood?', "An elm?")
    assert looked_for(session, alice, garden, search=search) == (['Is an "oak" 100% wood?'] if found else [])


def looked_for(session: Session, person: User, project: Project, zone: timezone = UTC, **typed: str) -> list[str]:
    """The questions whose answers are found by what was typed."""
    wanted = history.Wanted.typed(**{"search": "", "verdict": "", "flag": "", "since": "", "until": "", **typed})
    found = history.listed(session, access_of(session, person, project), wanted, zone, Asked(), PAGE)
    return [line.asked for line in found.rows]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ({"search": "BARK"}, ["An oak?"]),
        ({"search": "shorter"}, ["An elm?"]),
        ({"search": "needles"}, []),
        ({"verdict": "skipped"}, ["A fir?"]),
        ({"verdict": "preferred"}, ["An elm?", "An oak?"]),
        ({"verdict": "preferred", "search": "bark"}, ["An oak?"]),
        ({"flag": "harmful"}, ["An elm?"]),
        ({"flag": "broken"}, []),
        ({"flag": "any"}, ["An elm?"]),
        ({"verdict": "nonsense", "flag": "'; drop", "since": "yesterday", "until": "9999-12-31"}, None),
    ],
)
def test_it_looks_for_answers_reasons_verdicts_and_flags(
    session: Session, garden: Project, alice: User, typed: dict[str, str], found: list[str] | None
) -> None:
    access = access_of(session, alice, garden)
    said = [LEFT, Spoken("preferred", "right", 1, rationale="It is shorter.", flags=["harmful"]), SKIP]
    for question, spoken in zip(("An oak?", "An elm?", "A fir?"), said, strict=True):
        make_comparison(session, garden, question, a="Wood under bark." if "oak" in question else "Wood.", b="A plant.")
        assignment = leases.claim(session, access)
        assert assignment is not None
        answers.record(session, access, assignment.id, spoken)
    everything = ["A fir?", "An elm?", "An oak?"]
    assert looked_for(session, alice, garden, **typed) == (everything if found is None else found)


def test_a_day_is_that_of_one_s_own_clock(session: Session, garden: Project, alice: User) -> None:
    (answer,) = answered(session, alice, garden, "An oak?")
    answer.created_at = datetime(2026, 3, 1, 20, tzinfo=UTC)
    session.flush()
    seoul = timezone(timedelta(hours=9))  # where it is five in the morning of the second
    assert looked_for(session, alice, garden, since="2026-03-01", until="2026-03-01") == ["An oak?"]
    assert looked_for(session, alice, garden, seoul, since="2026-03-01", until="2026-03-01") == []
    assert looked_for(session, alice, garden, seoul, since="2026-03-02", until="2026-03-02") == ["An oak?"]


def test_what_is_looked_for_stays_in_the_form_and_in_the_next_page_s_address(
    browser: TestClient, session: Session, garden: Project, alice: User
) -> None:
    answered(session, alice, garden, *(f"Tree {number:02d}?" for number in range(history.PAGE + 2)))
    shown = browser.get(f"{PAGE}?search=tree&verdict=preferred&since=2020-01-01").text
    following = re.search(r'href="([^"]+)" rel="next"', shown)
    assert following
    assert "search=tree&amp;verdict=preferred&amp;since=2020-01-01&amp;cursor=" in following[1]
    assert 'value="tree"' in shown
    assert re.search(r'value="preferred" selected', shown)
    assert browser.get(following[1].replace("&amp;", "&")).text.count('<td class="excerpt"') == 2
    nothing = browser.get(f"{PAGE}?search=yew").text
    assert "None of your answers is like that." in nothing


def test_it_pages_by_a_cursor(browser: TestClient, session: Session, garden: Project, alice: User) -> None:
    answered(session, alice, garden, *(f"Tree {number:02d}?" for number in range(history.PAGE + 2)))
    first = browser.get(PAGE).text
    assert first.count("<tr>") == history.PAGE + 1
    following = re.search(r'href="([^"]+)" rel="next"', first)
    assert following
    second = browser.get(following[1].replace("&amp;", "&")).text
    assert [f"Tree {number:02d}?" in second for number in (0, 1, 2)] == [True, True, False]
    assert 'rel="next"' not in second


def test_an_answer_is_edited_and_says_so(browser: TestClient, session: Session, garden: Project, alice: User) -> None:
    (answer,) = answered(session, alice, garden, "An oak?")
    page = browser.get(f"{PAGE}/{answer.id}").text
    assert re.search(r'value="left-2"[^>]* data-chosen', page)
    assert "You answered" in page
    assert "/undo" not in page
    saved = browser.post(f"{PAGE}/{answer.id}", data={"choice": "right-1", "rationale": "On second thoughts."})
    assert (saved.status_code, saved.headers["location"]) == (303, PAGE)
    session.refresh(answer)
    assert answer.assignment is not None
    assert (answer.preferred != answer.assignment.shown_left, answer.strength, answer.revision) == (True, 1, 2)
    shown = browser.get(PAGE).text
    assert "B slightly better" in shown
    assert "corrected" in shown
    assert "On second thoughts." in shown


def test_a_wrong_edit_stays_on_the_page_with_what_was_typed(
    browser: TestClient, session: Session, garden: Project, alice: User
) -> None:
    garden.labeling = {"rationale": "required"}
    (answer,) = answered(session, alice, garden, "An oak?", spoken=SKIP)
    reply = browser.post(f"{PAGE}/{answer.id}", data={"choice": "tie", "flags": ["harmful"]})
    assert reply.status_code == 422
    assert "asks for a reason" in reply.text
    assert re.search(r'value="harmful"\s+checked', reply.text)


def test_what_a_snapshot_holds_can_be_edited_but_not_undone(
    browser: TestClient, session: Session, garden: Project, alice: User
) -> None:
    (answer,) = answered(session, alice, garden, "An oak?")
    assert f"/label/{answer.assignment_id}/undo" in browser.get(PAGE).text
    snapshot = Snapshot(project_id=garden.id, sha256="ab" * 32, url="file:///s", manifest={})
    session.add(snapshot)
    session.flush()
    session.add(SnapshotAnswer(snapshot_id=snapshot.id, answer_id=answer.id, revision=1))
    session.flush()
    shown = browser.get(PAGE).text
    assert "/undo" not in shown
    assert "in a snapshot" in shown
    assert browser.post(f"{PAGE}/{answer.id}", data={"choice": "tie"}).status_code == 303


def test_a_choice_from_a_chat_is_corrected_without_asking_others(
    browser: TestClient, session: Session, garden: Project, alice: User
) -> None:
    comparison = make_comparison(session, garden)
    comparison.source = "chat"
    garden.labels_per_comparison = 3
    choices.keep(session, garden, comparison, alice, verdict="preferred", preferred="a", source="chat")
    answer = session.scalars(select(Answer)).one()
    assert "/undo" not in browser.get(PAGE).text
    assert browser.post(f"{PAGE}/{answer.id}", data={"choice": "right-3"}).status_code == 303
    session.refresh(answer)
    session.refresh(comparison)
    assert (answer.preferred, answer.revision, comparison.status) == ("b", 2, "complete")


def test_other_people_s_answers_are_not_there(browser: TestClient, session: Session, garden: Project) -> None:
    (answer,) = answered(session, make_person(session, "bob", "annotator"), garden, "An oak?")
    assert browser.get(f"{PAGE}/{answer.id}").status_code == 404
    assert browser.post(f"{PAGE}/{answer.id}", data={"choice": "tie"}).status_code == 404


def test_it_is_sorted_by_what_one_said_and_by_when(
    browser: TestClient, session: Session, garden: Project, alice: User
) -> None:
    much = Spoken("preferred", "left", 3)
    said = {"fir": SKIP, "oak": RIGHT, "elm": much, "ash": Spoken("tie"), "yew": Spoken("both_bad"), "box": LEFT}
    for tree, spoken in said.items():
        answered(session, alice, garden, f"{tree}?", spoken=spoken)

    def order(query: str) -> list[str]:
        return re.findall(r'<td class="excerpt" dir="auto">(\w+)\?', browser.get(f"{PAGE}{query}").text)

    buttons = ["elm", "box", "ash", "oak", "yew", "fir"]
    assert order("") == [*said][::-1]
    assert order("?sort=when") == [*said]
    assert order("?sort=answer") == buttons
    assert order("?sort=-answer") == buttons[::-1]
    sorted_once = browser.get(f"{PAGE}?sort=answer&search=e").text
    assert (
        'aria-sort="ascending"><a class="by" href="/projects/garden/history?sort=-answer&amp;search=e"' in sorted_once
    )
