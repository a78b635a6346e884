"""The audit log: written with what it tells of, only ever added to, searched, taken out, and without secrets."""

import csv
import io
import re
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts import audit, invitations, people, tokens
from app.accounts.audit import ACTIONS, Wanted
from app.models import AuditEvent, User, now
from tests.people import bearer, browse_as, make_person, make_project


@pytest.fixture
def bob(client: TestClient, session: Session) -> User:
    person = make_person(session, "bob", "admin")
    browse_as(client, session, person)
    return person


def actions(session: Session) -> list[str]:
    return list(session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


@pytest.mark.parametrize(
    "change", ["update audit_events set action = 'x'", "delete from audit_events", "truncate audit_events"]
)
def test_the_database_refuses_to_change_it(session: Session, change: str) -> None:
    audit.record(session, "invited")
    session.flush()
    with pytest.raises(IntegrityError, match="only ever added to"), session.begin_nested():
        session.execute(text(change))
    assert actions(session) == ["invited"]


def test_it_is_kept_with_the_change_or_not_at_all(client: TestClient, session: Session, bob: User) -> None:
    alice = make_person(session, "alice", "annotator")
    before = len(actions(session))
    assert client.post(f"/people/{alice.id}/roles", data={"roles": "king"}).status_code == 422
    assert client.post(f"/people/{bob.id}/deactivate").status_code == 409
    assert len(actions(session)) == before
    client.post(f"/people/{alice.id}/roles", data={"roles": ["operator"]})
    last = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert last is not None
    assert (last.action, last.person_id, last.about_id) == ("roles_changed", bob.id, alice.id)
    assert last.details == {"changes": {"roles": [["annotator"], ["operator"]]}}
    client.post(f"/people/{alice.id}/roles", data={"roles": ["operator"]})
    assert len(actions(session)) == before + 1, "the same roles again are no change"


def test_a_program_is_the_person_whose_token_it_has(client: TestClient, session: Session) -> None:
    alice = make_person(session, "alice")
    headers = bearer(session, alice)
    client.post("/me/tokens", data={"name": "script"}, headers=headers)
    assert session.scalars(select(AuditEvent.person_id).where(AuditEvent.action == "token_made")).all() == [alice.id]
    assert client.get("/sign-in").status_code == 200
    audit.record(session, "invited")
    session.flush()
    assert session.scalars(select(AuditEvent.person_id).order_by(AuditEvent.id.desc())).first() is None


def test_signing_in_out_and_failing_are_told_without_what_was_typed(client: TestClient, session: Session) -> None:
    eve = people.create_user(session, "eve@example.org", ["annotator"], "eve's password")
    client.post("/sign-in", data={"email": "eve@example.org", "password": "my other secret"})
    client.post("/sign-in", data={"email": "my secret typed as address", "password": "x"})
    client.post("/sign-in", data={"email": "eve@example.org", "password": "eve's password"})
    client.post("/sign-out")
    told = session.execute(select(AuditEvent.action, AuditEvent.person_id, AuditEvent.about_id).order_by(AuditEvent.id))
    assert [tuple(row) for row in told] == [
        ("sign_in_failed", None, eve.id),
        ("sign_in_failed", None, None),
        ("signed_in", eve.id, None),
        ("signed_out", eve.id, None),
    ]
    assert "secret" not in str(session.scalars(select(AuditEvent.details)).all())


def test_no_secret_and_no_address_is_in_it(client: TestClient, session: Session, bob: User) -> None:
    secret = tokens.create_token(session, bob, "nightly")
    link = invitations.invite(session, bob, ["annotator"], "eve@example.org")
    client.post(f"/invitations/{link}", data={"email": "", "name": "Eve", "password": "correct horse"})
    everything = " ".join(audit.as_json(session, Wanted()))
    kept = str(session.scalars(select(AuditEvent.details)).all())
    for hidden in (secret, secret[:15], link, "correct horse"):
        assert hidden not in everything
    assert "eve@example.org" not in kept
    assert "nightly" not in kept


def test_it_is_searched_by_person_action_project_and_day(client: TestClient, session: Session, bob: User) -> None:
    project = make_project(session)
    alice = make_person(session, "alice")
    audit.record(session, "roles_changed", about=alice)
    audit.record(session, "paused", about=alice, project=project)
    audit.record(session, "prompts_withdrawn", by=alice, project=project, prompts=[17])
    session.flush()

    def found(path: str, query: str) -> list[str]:
        body = re.search(r"<tbody>(.*)</tbody>", client.get(f"{path}?{query}").text, re.DOTALL)
        return [code for code, words in ACTIONS.items() if body and words in body[1].replace("&#39;", "'")]

    assert found("/audit", "q=alice") == ["roles_changed", "prompts_withdrawn", "paused"]
    assert found("/audit", "q=17+ALICE@example") == ["prompts_withdrawn"]
    assert found("/audit", "action=paused") == ["paused"]
    assert found("/audit", "project=garden&action=paused") == ["paused"]
    assert found("/projects/garden/audit", "") == ["prompts_withdrawn", "paused"]
    today, tomorrow = (now() + timedelta(days=n) for n in (0, 1))
    assert "roles_changed" in found("/audit", f"since={today:%Y-%m-%d}&until={today:%Y-%m-%d}")
    assert found("/audit", f"since={tomorrow:%Y-%m-%d}") == []
    assert client.get("/audit?since=soon").status_code == 422


def test_a_projects_log_is_for_its_admins(client: TestClient, session: Session) -> None:
    make_project(session)
    browse_as(client, session, make_person(session, "olga", "operator", "annotator"))
    assert client.get("/projects/garden/audit").status_code == 403
    assert client.get("/projects/garden/audit.csv").status_code == 403
    assert client.get("/api/v1/audit").status_code == 403


def test_it_is_taken_out_whole_with_harmless_cells(client: TestClient, session: Session, bob: User) -> None:
    evil = make_person(session, "evil")
    evil.name = "=HYPERLINK(1)"
    for _ in range(60):
        audit.record(session, "invited", by=evil)
    session.flush()
    lines = list(csv.reader(io.StringIO(client.get("/audit.csv?action=invited").text)))
    assert len(lines) == 61
    assert lines[1][:4] == [lines[1][0], str(evil.id), "'=HYPERLINK(1)", "invited"]
    rows = client.get("/audit.json?action=invited").json()
    assert len(rows) == 60
    assert rows[0]["person_name"] == "=HYPERLINK(1)"
    assert actions(session)[-2:] == ["audit_taken", "audit_taken"]
    assert client.get("/audit.exe").status_code == 404


def test_it_is_paged_over_the_api(client: TestClient, session: Session, bob: User) -> None:
    for n in range(55):
        audit.record(session, "imported", n=n)
    session.flush()
    first = client.get("/api/v1/audit?action=imported").json()
    rest = client.get(f"/api/v1/audit?action=imported&cursor={first['next']}").json()
    assert [row["details"]["n"] for row in first["items"] + rest["items"]] == list(reversed(range(55)))
    assert rest["next"] is None


def test_an_action_that_is_not_in_the_vocabulary_is_a_mistake(session: Session) -> None:
    with pytest.raises(AssertionError, match="not in the vocabulary"):
        audit.record(session, "did_something")


def test_details_are_said_without_the_marks_of_json(session: Session) -> None:
    wanted = {"layout": "kto", "filters": {"simulated": False, "tags": ["poem", "ode"]}, "none": None}
    event = audit.record(session, "export_started", wanted=wanted)
    said = "layout: kto, filters: (simulated: false, tags: poem, ode), none: –"
    assert audit.Line(event, None, None, None).details == [("wanted", said)]
