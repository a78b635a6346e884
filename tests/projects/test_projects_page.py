"""The list of projects and the page that makes one."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Project, Run, now
from app.projects import guidelines
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import browse_as, make_person, make_project


def cells(html: str) -> list[str]:
    """The words of the table's lines."""
    body = html.split("<tbody>")[1].split("</tbody>")[0]
    return [" ".join(row.replace("<", " <").split()) for row in body.split("<tr")[1:]]


def test_each_project_says_where_it_stands(client: TestClient, session: Session) -> None:
    alice = make_person(session, "alice", "annotator")
    garden, _pond = make_project(session), make_project(session, "pond")
    for n in range(3):
        make_comparison(session, make_prompt(session, garden, f"Question {n}?"))
    done = make_comparison(session, make_prompt(session, garden, "Answered?"), status="complete")
    make_answer(session, done, alice)
    skipped = make_comparison(session, make_prompt(session, garden, "Skipped?"), status="withdrawn")
    make_answer(session, skipped, alice, "skipped")
    session.add(Run(project_id=garden.id, kind="reward", status="succeeded", finished_at=now()))
    session.add(Run(project_id=garden.id, kind="sample", status="succeeded", finished_at=now()))
    session.flush()
    first, second = cells(browse_as(client, session, alice).get("/projects").text)
    assert '<td class="num">3 </td> <td class="num">1 </td>' in first
    assert "just now" in first
    assert '<td class="num">0 </td> <td class="num">0 </td>' in second
    assert "just now" not in second


def test_only_visible_projects_are_listed_and_archived_ones_when_asked(client: TestClient, session: Session) -> None:
    make_project(session, "secret").restricted = True
    make_project(session, "aged").archived_at = now()
    make_project(session, "young")
    browse_as(client, session, make_person(session, "mallory"))
    shown, archived = client.get("/projects").text, client.get("/projects?q=is:archived").text
    assert "Secret" not in shown + archived
    assert ("Young" in shown, "Aged" in shown) == (True, False)
    assert ("Young" in archived, "Aged" in archived) == (False, True)
    assert "No project fits" in client.get("/projects?q=old").text
    assert "New project" not in shown


def test_it_says_what_to_do_where_there_is_none(client: TestClient, session: Session) -> None:
    bob, mallory = make_person(session, "bob", "admin"), make_person(session, "mallory")
    assert "Make one:" in browse_as(client, session, bob).get("/projects").text
    assert "Ask an admin" in browse_as(client, session, mallory).get("/projects").text


def test_an_admin_makes_one(client: TestClient, session: Session) -> None:
    browse_as(client, session, make_person(session, "bob", "admin"))
    assert "<option selected>tiny</option>" in client.get("/projects/new").text
    form = {
        "name": "Garden",
        "base_model": "tiny",
        "guidelines": "Be kind.",
        "labels_per_comparison": "2",
        "every": "50",
    }
    answer = client.post("/projects/new", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/projects/garden")
    project = session.scalars(select(Project)).one()
    assert (project.labels_per_comparison, project.retraining) == (2, {"every": 50})
    text = guidelines.current(session, project)
    assert text is not None
    assert text.text == "Be kind."


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({}, "Give the project a name."),
        ({"name": "Garden", "base_model": "other"}, "No engine serves the base model"),
        ({"name": "Garden", "labels_per_comparison": "two"}, "must be a whole number, such as 3, not &#39;two&#39;."),
        ({"name": "Garden", "labels_per_comparison": "0"}, "from 1 to 50, not 0."),
        ({"name": "Garden", "every": "1.5"}, "must be a whole number"),
        ({"name": "Garden", "every": "0"}, "every must be a number from 1"),
    ],
)
def test_a_mistake_is_explained_and_what_was_typed_is_kept(
    client: TestClient, session: Session, form: dict[str, str], sentence: str
) -> None:
    browse_as(client, session, make_person(session, "bob", "admin"))
    answer = client.post("/projects/new", data={"base_model": "tiny", "guidelines": "Be <b>kind</b>."} | form)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert "Be &lt;b&gt;kind&lt;/b&gt;." in answer.text
    assert session.scalars(select(Project)).all() == []


@pytest.mark.parametrize("roles", [(), ("annotator",), ("operator",)])
def test_nobody_else_makes_one(client: TestClient, session: Session, roles: tuple[str, ...]) -> None:
    browse_as(client, session, make_person(session, "mallory", *roles))
    assert client.get("/projects/new").status_code == 403
    assert client.post("/projects/new", data={"name": "Mine", "base_model": "tiny"}).status_code == 403
    assert session.scalars(select(Project)).all() == []
