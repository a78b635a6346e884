"""The label page works as a plain form, gives htmx the next pair in the same answer, and says why there is none."""

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.labeling.comparisons import add_comparison, add_response, find_or_add_prompt
from app.models import Answer, Assignment, Project, Run, Snapshot, SnapshotAnswer, User, now
from tests.labeling.pairs import make_comparison, make_comparisons
from tests.people import browse_as, make_person, make_project

PAGE = "/projects/garden/label"
HTMX = {"HX-Request": "true"}
CRITERION: dict[str, Any] = {"criterion:honest": "right"}


@pytest.fixture
def garden(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def alice(session: Session) -> User:
    return make_person(session, "alice", "annotator")


@pytest.fixture
def browser(client: TestClient, session: Session, alice: User) -> TestClient:
    """Alice's browser, without JavaScript."""
    return browse_as(client, session, alice)


def assignment_in(html: str) -> str:
    found = re.search(r'data-assignment="(\d+)"', html)
    assert found, html
    return found[1]


def send(browser: TestClient, assignment: str, headers: dict[str, str] | None = None, **form: Any) -> Any:
    return browser.post(f"{PAGE}/{assignment}", data=form, headers=headers)


def only_answer(session: Session) -> Answer:
    session.expire_all()
    return session.scalars(select(Answer)).one()


def test_a_form_without_script_saves_and_comes_back_with_the_next_pair(
    browser: TestClient, session: Session, garden: Project
) -> None:
    make_comparisons(session, garden, 2)
    first = browser.get(PAGE).text
    assert "Name tree number 1." in first
    assert first.count("<form") == 1, "nothing to undo yet"
    saved = send(browser, assignment_in(first), choice="left-1", seconds="7.5", flags=["broken"], rationale="Shorter.")
    assert saved.status_code == 303
    following = browser.get(saved.headers["location"]).text
    assert "Saved: A slightly better." in following
    assert "Name tree number 2." in following
    answer = only_answer(session)
    assert (answer.verdict, answer.strength, answer.flags, answer.rationale) == ("preferred", 1, ["broken"], "Shorter.")
    assert (answer.seconds_client, answer.source) == (7.5, "page")
    assert answer.assignment is not None
    assert answer.preferred == answer.assignment.shown_left


def test_htmx_gets_the_next_pair_in_the_answer_itself(browser: TestClient, session: Session, garden: Project) -> None:
    make_comparisons(session, garden, 2)
    first = assignment_in(browser.get(PAGE).text)
    reply = send(browser, first, HTMX, choice="tie")
    assert reply.status_code == 200
    assert "<html" not in reply.text
    assert "Name tree number 2." in reply.text
    assert 'data-said="Saved: About the same."' in reply.text
    assert f"{PAGE}/{first}/undo" in reply.text


@pytest.mark.parametrize(
    ("form", "verdict", "strength"),
    [
        ({"choice": "left-3"}, "preferred", 3),
        ({"choice": "right-2"}, "preferred", 2),
        ({"choice": "both_bad"}, "both_bad", None),
        ({"choice": "cannot_judge"}, "cannot_judge", None),
        ({"skip_reason": "too_long"}, "skipped", None),
    ],
)
def test_every_button_means_what_it_says(
    browser: TestClient, session: Session, garden: Project, form: dict[str, Any], verdict: str, strength: int | None
) -> None:
    make_comparison(session, garden)
    shown = browser.get(PAGE).text
    name, value = next(iter(form.items()))
    assert f'name="{name}" value="{value}"' in shown
    send(browser, assignment_in(shown), **form)
    answer = only_answer(session)
    assert (answer.verdict, answer.strength, answer.skip_reason) == (verdict, strength, form.get("skip_reason"))


def test_the_buttons_name_the_side_that_was_shown(browser: TestClient, session: Session, garden: Project) -> None:
    make_comparison(session, garden, a="The first", b="The second")
    shown = browser.get(PAGE).text
    left = "The first" if shown.index("The first") < shown.index("The second") else "The second"
    send(browser, assignment_in(shown), choice="left-2")
    answer = only_answer(session)
    assert answer.preferred == ("a" if left == "The first" else "b")


def test_the_same_twice_is_saved_once_and_another_one_is_refused_with_the_next_pair(
    browser: TestClient, session: Session, garden: Project
) -> None:
    make_comparisons(session, garden, 3)
    first = assignment_in(browser.get(PAGE).text)
    once, twice = (send(browser, first, HTMX, choice="tie") for _ in range(2))
    assert assignment_in(once.text) == assignment_in(twice.text)
    other = send(browser, first, HTMX, choice="both_bad")
    assert other.status_code == 409
    assert assignment_in(other.text) == assignment_in(once.text)
    assert "You answered this comparison already" in other.text
    assert only_answer(session).verdict == "tie"


def test_a_pair_that_somebody_else_has_is_gone_and_the_next_one_is_there(
    browser: TestClient, session: Session, garden: Project
) -> None:
    make_comparisons(session, garden, 2)
    first = assignment_in(browser.get(PAGE).text)
    assignment = session.get_one(Assignment, int(first))
    bob = make_person(session, "bob", "annotator")
    session.add(
        Assignment(
            project_id=garden.id,
            comparison_id=assignment.comparison_id,
            user_id=bob.id,
            shown_left="a",
            leased_until=assignment.leased_until,
            claimed_at=now(),
        )
    )
    assignment.status = "released"
    session.flush()
    reply = send(browser, first, HTMX, choice="tie")
    assert reply.status_code == 410
    assert "somebody else has this comparison now" in reply.text
    assert "Name tree number 2." in reply.text


def test_what_was_typed_stays_when_a_reason_is_missing(browser: TestClient, session: Session, garden: Project) -> None:
    garden.labeling = {"rationale": "required", "criteria": ["honest"]}
    make_comparison(session, garden)
    first = assignment_in(browser.get(PAGE).text)
    reply = send(browser, first, choice="tie", flags=["harmful"], **CRITERION)
    assert reply.status_code == 422
    assert "This project asks for a reason" in reply.text
    assert assignment_in(reply.text) == first
    assert re.search(r'value="harmful"\s+checked', reply.text)
    assert re.search(r'name="criterion:honest" value="right"\s+checked', reply.text)
    assert session.scalar(select(Answer)) is None


def test_no_button_at_all_gets_a_sentence(browser: TestClient, session: Session, garden: Project) -> None:
    make_comparison(session, garden)
    reply = send(browser, assignment_in(browser.get(PAGE).text), choice="")
    assert (reply.status_code, "Choose one of the steps" in reply.text) == (422, True)


def test_undo_brings_the_pair_back_with_what_was_said(browser: TestClient, session: Session, garden: Project) -> None:
    make_comparisons(session, garden, 2)
    first = assignment_in(browser.get(PAGE).text)
    send(browser, first, choice="right-1", rationale="It <b>rhymes</b>.")
    reply = browser.post(f"{PAGE}/{first}/undo", headers=HTMX)
    assert reply.status_code == 200
    assert assignment_in(reply.text) == first
    assert "It &lt;b&gt;rhymes&lt;/b&gt;." in reply.text
    assert re.search(r'value="right-1"[^>]* data-chosen', reply.text)
    assert session.scalar(select(Answer)) is None
    plain = browser.post(f"{PAGE}/{first}/undo")
    assert (plain.status_code, "no answer here that could be undone" in plain.text) == (404, True)


def test_an_answer_in_a_snapshot_says_which_one_holds_it(
    browser: TestClient, session: Session, garden: Project
) -> None:
    make_comparisons(session, garden, 2)
    first = assignment_in(browser.get(PAGE).text)
    send(browser, first, choice="tie")
    snapshot = Snapshot(project_id=garden.id, sha256="ab" * 32, url="file:///s", manifest={})
    session.add(snapshot)
    session.flush()
    session.add(SnapshotAnswer(snapshot_id=snapshot.id, answer_id=only_answer(session).id, revision=1))
    session.flush()
    reply = browser.post(f"{PAGE}/{first}/undo", headers=HTMX)
    assert reply.status_code == 409
    assert f"Snapshot {snapshot.id} (abababababab) holds this answer" in reply.text


@pytest.mark.parametrize(
    ("strengths", "values"),
    [
        (3, ["left-3", "left-2", "left-1", "tie", "right-1", "right-2", "right-3"]),
        (2, ["left-2", "left-1", "tie", "right-1", "right-2"]),
        (1, ["left-1", "tie", "right-1"]),
    ],
)
def test_the_row_shrinks_with_the_steps_a_project_asks_for(
    browser: TestClient, session: Session, garden: Project, strengths: int, values: list[str]
) -> None:
    garden.labeling = {"strengths": strengths}
    make_comparison(session, garden)
    row = re.findall(r'class="step" name="choice" value="([^"]+)"[^>]*data-key="(\d)"', browser.get(PAGE).text)
    assert row == [(value, str(number)) for number, value in enumerate(values, 1)]


def test_the_page_shows_the_conversation_and_nothing_hostile(
    browser: TestClient, session: Session, garden: Project
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello, what is it?"},
        {"role": "user", "content": "A *tree*, please"},
    ]
    prompt, _ = find_or_add_prompt(session, garden, messages, sampled=False)
    a, b = (add_response(session, prompt, text, source="import") for text in ("<script>alert(1)</script>", "**Oak**"))
    add_comparison(session, garden, prompt, a, b, source="import")
    shown = browser.get(PAGE).text
    assert "<script>alert" not in shown
    assert "<strong>Oak</strong>" in shown
    assert "<em>tree</em>" in shown
    order = [shown.index(part) for part in ("Be brief.", ">Hello<", "Hello, what is it?", "<em>tree</em>")]
    assert order == sorted(order)


def test_the_page_is_blind(browser: TestClient, session: Session, garden: Project) -> None:
    prompt, _ = find_or_add_prompt(session, garden, [{"role": "user", "content": "Hi"}], sampled=True)
    a, b = (
        add_response(session, prompt, text, source="sample", base_model="secret-base", sampling={"seed": 4711})
        for text in ("Hello", "Good day")
    )
    add_comparison(session, garden, prompt, a, b, source="evaluation", purpose="evaluation")
    shown = browser.get(PAGE).text
    for secret in ("secret-base", "4711", "evaluation", f'"{a.id}"', f'"{b.id}"'):
        assert secret not in shown.replace(f'data-assignment="{assignment_in(shown)}"', "")


def state(response: Response) -> str:
    found = re.search(r'data-state="(\w+)"', response.text)
    assert found, response.text
    return found[1]


def test_an_empty_desk_says_why(browser: TestClient, session: Session, garden: Project) -> None:
    assert state(browser.get(PAGE)) == "no_prompts"
    garden.sampling = {"stock": 0}
    find_or_add_prompt(session, garden, [{"role": "user", "content": "Hi"}], sampled=True)
    assert state(browser.get(PAGE)) == "paused"
    garden.sampling = {}
    session.flush()
    assert state(browser.get(PAGE)) == "sampling", "looking at an empty desk orders new pairs"
    run = session.scalars(select(Run).where(Run.kind == "sample")).one()
    run.status, run.finished_at, run.error = "failed", now(), "The engine is down."
    session.flush()
    assert state(browser.get(PAGE)) == "failed"
    session.add(Run(project_id=garden.id, kind="chain", status="running"))
    session.flush()
    assert state(browser.get(PAGE)) == "training"
    garden.archived_at = now()
    session.flush()
    assert state(browser.get(PAGE)) == "paused"


def test_an_empty_desk_tells_done_from_held_and_skipped(
    browser: TestClient, session: Session, garden: Project, alice: User
) -> None:
    one, two = make_comparisons(session, garden, 2)
    send(browser, assignment_in(browser.get(PAGE).text), skip_reason="other")
    bob = make_person(session, "bob", "annotator")
    lease = {"project_id": garden.id, "shown_left": "a", "claimed_at": now(), "leased_until": now()}
    later = now().replace(year=now().year + 1)
    session.add(Assignment(comparison_id=two.id, user_id=bob.id, **{**lease, "leased_until": later}))
    session.flush()
    assert state(browser.get(PAGE)) == "held"
    two.status = "complete"
    session.flush()
    assert state(browser.get(PAGE)) == "answered"
    one.status = "complete"
    session.flush()
    assert state(browser.get(PAGE)) == "done"


def test_an_empty_desk_says_which_languages_and_skills_are_missing(
    browser: TestClient, session: Session, garden: Project, alice: User
) -> None:
    korean, english = make_comparisons(session, garden, 2)
    korean.needs, english.needs = ["en", "ko", "medicine"], ["en"]
    alice.abilities = ["en"]
    session.flush()
    send(browser, assignment_in(browser.get(PAGE).text), choice="tie")
    shown = browser.get(PAGE)
    assert state(shown) == "abilities"
    assert "They need: ko, medicine." in shown.text
    alice.abilities = None
    session.flush()
    assert assignment_in(browser.get(PAGE).text)


def test_a_waiting_page_is_left_alone_until_something_changes(
    browser: TestClient, session: Session, garden: Project
) -> None:
    assert browser.get(f"{PAGE}?waiting=no_prompts", headers=HTMX).status_code == 204
    assert browser.get(f"{PAGE}?waiting=sampling", headers=HTMX).status_code == 200
    make_comparison(session, garden)
    assert "Name a tree." in browser.get(f"{PAGE}?waiting=no_prompts", headers=HTMX).text


def test_it_counts_one_s_own_day(browser: TestClient, session: Session, garden: Project) -> None:
    make_comparisons(session, garden, 7)
    for _ in range(5):
        send(browser, assignment_in(browser.get(PAGE).text), choice="tie", seconds="30")
    browser.cookies.set("timezone", "Asia/Seoul")
    shown = browser.get(PAGE).text
    assert "5 done today" in shown
    assert "120 an hour" in shown
    for zone in ("Nowhere/Else", "../../etc/passwd", "", "a" * 500):
        browser.cookies.set("timezone", zone)
        assert browser.get(PAGE).status_code == 200


@pytest.mark.parametrize("path", ["/label", "/history", "/history/1"])
def test_only_annotators_of_the_project_may(client: TestClient, session: Session, garden: Project, path: str) -> None:
    address = f"/projects/garden{path}"
    assert client.get(address).status_code == 303, "signed out: to the sign-in page"
    for name, *roles in (("bob", "admin"), ("olga", "operator"), ("mallory",)):
        browse_as(client, session, make_person(session, name, *roles))
        assert client.get(address).status_code == 403, name
        assert client.post(f"{PAGE}/1", data={"choice": "tie"}).status_code == 403
        assert client.post(f"{PAGE}/1/undo").status_code == 403
        assert client.post("/projects/garden/history/1", data={"choice": "tie"}).status_code == 403


def test_nobody_answers_another_person_s_assignment(browser: TestClient, session: Session, garden: Project) -> None:
    make_comparison(session, garden)
    mine = assignment_in(browser.get(PAGE).text)
    browse_as(browser, session, make_person(session, "bob", "annotator"))
    assert send(browser, mine, choice="tie").status_code == 404
    assert browser.post(f"{PAGE}/{mine}/undo").status_code == 404
