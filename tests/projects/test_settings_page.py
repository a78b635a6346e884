"""The settings page: every field, what each mistake is told, who may save."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import AuditEvent, Project, User
from app.projects.forms import as_typed
from tests.labeling.pairs import make_comparison, make_golds
from tests.people import browse_as, make_person, make_project

PAGE = "/projects/garden/settings"


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def bob(client: TestClient, session: Session) -> User:
    person = make_person(session, "bob", "admin")
    browse_as(client, session, person)
    return person


def test_every_field_is_saved(client: TestClient, project: Project, bob: User) -> None:
    form = {
        "name": "Pond",
        "labels_per_comparison": "3",
        "temperature": "0,7",
        "top_p": "0.9",
        "max_tokens": "64",
        "stock": "20",
        "full_distribution": "0",
        "strengths": "2",
        "rationale": "required",
        "criteria": "helpful\r\n\r\n honest \r\n",
        "repeats": "12",
        "order": "uncertain",
        "show_agreement": "true",
        "gold": "5",
        "own_repeats": "4",
        "qualification": "10",
        "qualification_share": "70",
        "every": "50",
        "cron": "0 3 * * *",
    }
    answer = client.post(PAGE, data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PAGE}?saved=true")
    assert (project.name, project.labels_per_comparison, project.restricted) == ("Pond", 3, False)
    assert project.sampling == {
        "temperature": 0.7, "top_p": 0.9, "max_tokens": 64, "stock": 20, "full_distribution": 0.0
    }  # fmt: skip
    assert project.labeling == {
        "strengths": 2, "rationale": "required", "criteria": ["helpful", "honest"], "repeats": 12, "order": "uncertain",
        "show_agreement": True, "gold": 5, "own_repeats": 4, "qualification": 10, "qualification_share": 70,
    }  # fmt: skip
    assert project.retraining == {"every": 50, "cron": "0 3 * * *"}
    assert "Saved." in client.get(answer.headers["location"]).text


def test_saving_what_is_shown_changes_nothing(client: TestClient, project: Project, bob: User) -> None:
    before = as_typed(project)
    assert client.post(PAGE, data=before).status_code == 303
    assert as_typed(project) == before


def test_an_empty_field_means_the_default(client: TestClient, project: Project, bob: User) -> None:
    project.sampling, project.retraining = {"temperature": 0.5}, {"every": 5}
    client.post(PAGE, data={"name": "Garden", "labels_per_comparison": "1"})
    assert project.sampling == {}
    assert project.retraining == {}
    assert as_typed(project)["temperature"] == "0.9"


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"name": ""}, "Give the project a name."),
        ({"temperature": "hot"}, "The temperature must be a number, such as 0.9, not &#39;hot&#39;."),
        ({"temperature": "nan"}, "temperature must be a number from 0.05 to 2"),
        ({"temperature": "9"}, "temperature must be a number from 0.05 to 2, not 9.0."),
        ({"max_tokens": "8.5"}, "The longest answer must be a whole number, such as 3, not &#39;8.5&#39;."),
        ({"stock": "-1"}, "stock must be a number from 0"),
        ({"labels_per_comparison": "99"}, "from 1 to 50, not 99."),
        ({"strengths": "7"}, "strengths must be a number from 1 to 3, not 7."),
        ({"gold": "51"}, "gold must be a number from 0 to 50, not 51."),
        (
            {"own_repeats": "few"},
            "own pairs must be a whole number, such as 3",
        ),
        ({"rationale": "perhaps"}, "rationale must be off, optional or required"),
        ({"criteria": "a\na"}, "each of them once"),
        ({"repeats": "few"}, "How many surprising answers are asked again must be a whole number, such as 3"),
        ({"repeats": "101"}, "repeats must be a number from 0 to 100, not 101."),
        ({"every": "0"}, "every must be a number from 1"),
        ({"cron": "nightly"}, "cron must have five fields"),
    ],
)
def test_a_mistake_is_explained_nothing_changes_and_what_was_typed_stays(
    client: TestClient, project: Project, bob: User, form: dict[str, str], sentence: str
) -> None:
    before = as_typed(project)
    answer = client.post(PAGE, data=before | {"name": "Renamed <b>"} | form)
    assert answer.status_code == 422
    assert sentence in answer.text
    if "name" not in form:
        assert 'value="Renamed &lt;b&gt;"' in answer.text
    assert as_typed(project) == before


@pytest.mark.parametrize("roles", [(), ("annotator",), ("operator",), ("annotator", "operator")])
def test_only_admins_see_and_change_them(
    client: TestClient, session: Session, project: Project, roles: tuple[str, ...]
) -> None:
    mallory = make_person(session, "mallory", *roles)
    browse_as(client, session, mallory)
    assert client.get(PAGE).status_code == 403
    for path, form in (
        ("settings", {"name": "Mine"}),
        ("members", {"email": mallory.email, "roles": "admin"}),
        (f"members/{mallory.id}/remove", {}),
        ("archive", {}),
        ("restore", {}),
    ):
        assert client.post(f"/projects/garden/{path}", data=form).status_code == 403
    assert (project.name, project.archived_at) == ("Garden", None)


def test_archiving_puts_it_away_and_restoring_brings_it_back(client: TestClient, project: Project, bob: User) -> None:
    assert client.post("/projects/garden/archive").headers["location"] == "/projects"
    assert project.archived_at is not None
    assert "Bring back" in client.get(PAGE).text
    assert client.post("/projects/garden/restore").headers["location"] == "/projects/garden"
    assert project.archived_at is None


def test_the_audit_log_says_what_changed_from_what_to_what(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    client.post(PAGE, data=as_typed(project) | {"temperature": "0.5", "every": "9", "name": "Pond"})
    told = session.scalars(select(AuditEvent).where(AuditEvent.action == "project_changed")).one()
    assert (told.person_id, told.project_id) == (bob.id, project.id)
    assert told.details["changes"] == {
        "name": ["Garden", "Pond"], "sampling.temperature": [0.9, 0.5], "retraining.every": [None, 9]
    }  # fmt: skip
    assert "0.9 → 0.5" in client.get("/projects/garden/audit").text


def test_a_project_like_another_has_its_settings_and_guidelines_and_no_data(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    project.sampling, project.labeling, project.retraining = {"temperature": 0.5}, {"strengths": 1}, {"every": 7}
    project.labels_per_comparison = 3
    session.flush()
    form = client.get("/projects/new?like=garden").text
    assert 'value="Copy of Garden"' in form
    assert "Prefer the answer you would rather receive." in form
    made = client.post(
        "/projects/new", data={"name": "Pond", "base_model": "tiny", "like": "garden", "guidelines": "x"}
    )
    assert made.headers["location"] == "/projects/pond"
    pond = session.scalars(select(Project).where(Project.slug == "pond")).one()
    assert (pond.sampling, pond.labeling, pond.retraining) == (project.sampling, project.labeling, project.retraining)
    assert pond.guidelines[0].text == "x"
    sent = client.post("/api/v1/projects", json={"name": "Lake", "like": "garden", "labels_per_comparison": 2}).json()
    assert sent["guidelines"] == "Prefer the answer you would rather receive."
    assert (sent["labels_per_comparison"], sent["sampling"]["temperature"]) == (2, 0.5)
    assert client.post("/api/v1/projects", json={"name": "Lake", "like": "nothing"}).status_code == 404


def test_too_few_gold_comparisons_are_said_and_block_nothing(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    project.labeling = {"qualification": 2, "gold": 5}
    assert "There are 0 gold comparisons, and the practice round asks 2." in client.get(PAGE).text
    project.labeling = {"gold": 5}
    assert "There are no gold comparisons yet, so none slip in." in client.get(PAGE).text
    make_golds(session, project, 2)
    project.labeling = {"qualification": 2}
    assert "This project has 2 gold comparisons" in client.get(PAGE).text


def test_raising_answers_per_comparison_leaves_what_is_done_alone_and_gold_too(
    client: TestClient, session: Session, project: Project, bob: User
) -> None:
    done, gold = make_comparison(session, project), make_golds(session, project, 1)[0]
    done.status, done.counted, gold.counted = "complete", 1, 5
    session.flush()
    for labels in ("3", "1"):
        client.post(PAGE, data={**as_typed(project), "labels_per_comparison": labels})
        session.refresh(gold)
        assert (project.labels_per_comparison, done.status, gold.status) == (int(labels), "complete", "waiting")
