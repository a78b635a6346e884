"""What is done to every prompt that a search finds: one press, one line of the audit log, and the way back."""

import re
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.access import Access
from app.models import AuditEvent, Project, Prompt, User
from app.prompts import bulk, lists
from tests.pairs import make_prompt
from tests.people import browse_as, make_person, make_project

PAGE = "/projects/garden/prompts"


@pytest.fixture
def bob(session: Session) -> User:
    person = make_person(session, "bob", "admin")
    session.info["person"] = person
    return person


@pytest.fixture
def project(session: Session) -> Project:
    """A garden with sixty prompts, every third about a tree; the other project has one about a tree as well."""
    project = make_project(session)
    for n in range(60):
        make_prompt(session, project, f"{'tree' if n % 3 == 0 else 'pond'} {n}")
    make_prompt(session, make_project(session, "other"), "tree")
    return project


@pytest.fixture
def browser(client: TestClient, session: Session, bob: User, project: Project) -> TestClient:
    return browse_as(client, session, bob)


def ids(session: Session, *which: bulk.Which) -> list[int]:
    return list(session.scalars(select(Prompt.id).where(*which).order_by(Prompt.id)))


def newest(session: Session) -> AuditEvent:
    return session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()  # type: ignore[return-value]


def test_it_changes_all_that_the_search_finds_in_this_project_and_nothing_else(
    browser: TestClient, session: Session, project: Project
) -> None:
    answer = browser.post(f"{PAGE}/bulk/withdraw", data={"every": "1", "q": "tree"})
    assert "20 prompts were withdrawn." in browser.get(answer.headers["location"]).text
    gone = [int(prompt.messages[0]["content"].split()[1]) for prompt in withdrawn(session)]
    assert gone == [*range(0, 60, 3)]
    undo = browser.post(f"{PAGE}/bulk/undo/{newest(session).id}")
    assert "20 prompts are in use again." in browser.get(undo.headers["location"]).text
    assert withdrawn(session) == []


def withdrawn(session: Session) -> list[Prompt]:
    return list(session.scalars(select(Prompt).where(Prompt.withdrawn_at.is_not(None)).order_by(Prompt.id)))


@pytest.mark.parametrize(
    ("q", "said"),
    [
        ("", "All 60 prompts, not only those on this page"),
        ("tree", None),
        ("is:used", "All 60 prompts that match, not only those on this page"),
    ],
)
def test_it_is_offered_where_more_match_than_the_page_shows(browser: TestClient, q: str, said: str | None) -> None:
    shown = re.search(r'name="every" value="1"> ([^<]+)</label>', browser.get(PAGE, params={"q": q}).text)
    assert (shown and unescape(shown[1])) == said


def test_beyond_what_is_counted_it_says_so(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST", 50)
    assert "All 50+ prompts, not only" in browser.get(PAGE).text


def test_a_press_that_changes_nothing_says_so(browser: TestClient) -> None:
    answer = browser.post(f"{PAGE}/bulk/restore", data={"every": "1", "q": ""})
    assert "Nothing had to be changed." in browser.get(answer.headers["location"]).text


def test_the_audit_log_names_neighbours_by_their_ends(session: Session, project: Project, bob: User) -> None:
    first, *_, last = ids(session, Prompt.project_id == project.id)
    assert bulk.tag(session, project, Prompt.id > 0, "wood").details["prompts"] == [f"{first}-{last}"]  # type: ignore[union-attr]
    done = bulk.untag(session, project, Prompt.id.in_([first, first + 1, first + 5]), "wood")
    assert done is not None
    assert done.details["prompts"] == [f"{first}-{first + 1}", str(first + 5)]
    assert bulk.sentence(done) == "3 prompts lost the tag wood."


def test_every_prompt_gets_its_own_priority_back(session: Session, project: Project, bob: User) -> None:
    here = Prompt.project_id == project.id

    def priorities() -> list[int]:
        return list(session.scalars(select(Prompt.priority).where(here).order_by(Prompt.id)))

    for number, id in enumerate(ids(session, here)):
        bulk.prioritise(session, project, Prompt.id == id, number // 20)
    before = priorities()
    assert set(before) == {0, 1, 2}
    done = bulk.prioritise(session, project, Prompt.id > 0, 1)
    assert done is not None
    assert set(priorities()) == {1}
    assert (len(done.details["prompts"]), done.details["before"], done.details["priority"]) == (2, [0, 2], 1)
    bulk.undo(session, Access(bob, project), done.id)
    assert priorities() == before


def test_lines_that_name_each_prompt_by_its_number_are_undone(session: Session, project: Project, bob: User) -> None:
    some = ids(session, Prompt.project_id == project.id)[:3]
    bulk.prioritise(session, project, Prompt.id.in_(some), 9)
    told = audit.record(session, "prompts_prioritised", by=bob, project=project, prompts=some, before=[1, 2, 3])
    session.flush()
    assert bulk.sentence(told) == "3 prompts have another priority now."
    bulk.undo(session, Access(bob, project), told.id)
    assert list(session.scalars(select(Prompt.priority).where(Prompt.id.in_(some)).order_by(Prompt.id))) == [1, 2, 3]
