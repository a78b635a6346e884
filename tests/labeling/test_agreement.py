"""Where a project allows it, people see how often their last answers are what most of the others said."""

import secrets

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.labeling import agreement
from app.labeling.agreement import Agreement
from app.models import Project, User
from tests.labeling.pairs import access_of
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import browse_as, make_person, make_project


@pytest.fixture
def garden(session: Session) -> Project:
    return make_project(session, labels_per_comparison=3)


@pytest.fixture
def cast(session: Session) -> dict[str, User]:
    return {name: make_person(session, name, "annotator") for name in ("alice", "bob", "carol")}


def judge(session: Session, project: Project, people: dict[str, User], **said: str) -> None:
    """A new comparison, and what each of them said about it."""
    comparison = make_comparison(session, make_prompt(session, project, secrets.token_hex(8)))
    for name, verdict in said.items():
        make_answer(session, comparison, people[name], verdict)


def test_only_answers_that_the_others_are_not_split_about_are_compared(
    session: Session, garden: Project, cast: dict[str, User]
) -> None:
    access = access_of(session, cast["alice"], garden)
    assert agreement.of_oneself(session, access) is None
    judge(session, garden, cast, alice="tie")  # nobody else
    judge(session, garden, cast, alice="tie", bob="skipped")  # nobody who said anything
    judge(session, garden, cast, alice="tie", bob="tie", carol="both_bad")  # split
    judge(session, garden, cast, alice="cannot_judge", bob="tie")
    assert agreement.of_oneself(session, access) is None
    judge(session, garden, cast, alice="tie", bob="preferred", carol="preferred")
    judge(session, garden, cast, alice="preferred", bob="preferred", carol="preferred")
    judge(session, garden, cast, alice="both_bad", bob="both_bad")
    # Two of the three that can be compared, and the last two of them.
    assert agreement.of_oneself(session, access) == Agreement(agreed=2, compared=3, streak=2)


def test_it_is_shown_only_where_the_project_allows_it(
    client: TestClient, session: Session, garden: Project, cast: dict[str, User]
) -> None:
    for _ in range(3):
        judge(session, garden, cast, alice="tie", bob="tie")
    make_comparison(session, make_prompt(session, garden, "One more?"))
    browse_as(client, session, cast["alice"])
    assert "as the others in" not in client.get("/projects/garden/label").text
    garden.labeling = {"show_agreement": True}
    session.flush()
    shown = client.get("/projects/garden/label").text
    assert "as the others in 3 of 3" in shown
    assert "the last 3 in a row" in shown
