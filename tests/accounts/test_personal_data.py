"""Taking out everything that is kept about oneself: complete, only one's own, and without hashes of secrets."""

from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import people, tokens
from app.models import Answer, AuditEvent, Base, Chat
from tests.accounts.test_erasure import make_prompt
from tests.pairs import make_comparison
from tests.people import browse_as, make_person, make_project


def test_it_holds_what_is_kept_about_oneself(client: TestClient, session: Session) -> None:
    eve = people.create_user(session, "eve@example.org", ["annotator"], "eve's password", name="이브")
    project = make_project(session)
    comparison = make_comparison(session, make_prompt(session, project, "Why?"))
    said = {"verdict": "tie", "rationale": "Both are fine.", "source": "page"}
    session.add_all(
        [
            Answer(project_id=project.id, comparison_id=comparison.id, user_id=eve.id, **said),
            Chat(project_id=project.id, user_id=eve.id, messages=[{"role": "user", "content": "Hello"}]),
            Chat(project_id=project.id, user_id=make_person(session, "bob").id, messages=[]),
        ]
    )
    tokens.create_token(session, eve, "nightly")
    browse_as(client, session, eve)
    taken = client.get("/me/data")
    assert taken.headers["content-disposition"] == 'attachment; filename="my-pairloop-data.json"'
    data = taken.json()
    assert [(one["email"], one["name"], one["roles"]) for one in data["person"]] == [
        ("eve@example.org", "이브", ["annotator"])
    ]
    assert [(one["rationale"], one["prompt"][0]["content"], one["project"]) for one in data["answers"]] == [
        ("Both are fine.", "Why?", "garden")
    ]
    assert [chat["messages"][0]["content"] for chat in data["chats"]] == ["Hello"]
    assert [token["name"] for token in data["tokens"]] == ["nightly"]
    assert len(data["signed_in"]) == 1
    assert "hash" not in taken.text
    assert session.scalars(select(AuditEvent.about_id).where(AuditEvent.action == "personal_data_taken")).all() == [
        eve.id
    ]


def test_an_admin_takes_it_out_for_somebody(client: TestClient, session: Session) -> None:
    eve = make_person(session, "eve")
    browse_as(client, session, make_person(session, "bob", "admin"))
    assert client.get(f"/people/{eve.id}/data").json()["person"][0]["email"] == "eve@example.org"
    assert client.get("/people/999999/data").status_code == 404


def test_every_table_that_names_a_person_is_thought_of() -> None:
    """Where a table is added that refers to people, it belongs into the export and into erasure, or into this list."""
    naming = {
        table.name
        for table in Base.metadata.sorted_tables
        if any(key.column.table.name == "users" for key in table.foreign_keys)
    }
    assert naming == {
        *("login_sessions", "api_tokens", "sign_in_links", "invitations", "memberships", "standings", "answers"),
        *("assignments", "chats", "chat_consents", "guideline_versions", "runs", "promotions", "audit_events"),
        *("guideline_readings", "qualifications", "comparisons", "uploads"),
    }
