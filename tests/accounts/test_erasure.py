"""Erasure: the answers stay, the person is nobody; only with the address typed, and never the last admin."""

import json

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts import audit, erasure, invitations, limits, people, sessions, tokens
from app.errors import BadInput, Conflict
from app.models import (
    Answer,
    ApiToken,
    Chat,
    ChatConsent,
    Comparison,
    Invitation,
    LoginSession,
    Membership,
    Project,
    Prompt,
    RateLimit,
    Response,
    Standing,
    User,
    now,
)
from tests.pairs import make_comparison
from tests.people import browse_as, make_person, make_project

SECRET = "zanzibar"


@pytest.fixture
def bob(session: Session) -> User:
    return make_person(session, "bob", "admin")


@pytest.fixture
def eve(session: Session) -> User:
    return people.create_user(session, f"{SECRET}@example.org", ["annotator"], "eve's password", name=f"Eve {SECRET}")


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


def answer(session: Session, comparison: Comparison, person: User, source: str = "page") -> Answer:
    given = Answer(
        project_id=comparison.project_id,
        comparison_id=comparison.id,
        user_id=person.id,
        verdict="preferred",
        preferred="a",
        strength=2,
        rationale=f"I know {SECRET}.",
        source=source,
    )
    session.add(given)
    session.flush()
    return given


def make_prompt(session: Session, project: Project, said: str, source: str = "") -> Prompt:
    messages = [{"role": "user", "content": said}]
    prompt = Prompt(project_id=project.id, messages=messages, hash=said, holdout=False, source=source)
    session.add(prompt)
    session.flush()
    return prompt


def everything_kept(session: Session) -> str:
    """Every table of ours as one text, the queue's too."""
    names = session.scalars(text("select tablename from pg_tables where schemaname = 'public'")).all()
    rows = [session.scalar(text(f"select json_agg(t) from {name} t")) for name in names]
    rows.append(session.scalar(text("select json_agg(args) from jobs.procrastinate_jobs")))
    return json.dumps(rows)


def test_nothing_says_any_more_who_it_was_and_the_answers_stay(
    session: Session, bob: User, eve: User, project: Project
) -> None:
    kept = answer(session, make_comparison(session, make_prompt(session, project, "Why?")), eve)
    chatted = make_comparison(session, make_prompt(session, project, f"I am {SECRET}.", "chat"))
    for side in (chatted.response_a, chatted.response_b):
        side.source, side.text = "chat", f"Hello {SECRET}."
    in_chat = answer(session, chatted, eve, "chat")
    sessions.start(session, eve, f"{SECRET} browser")
    tokens.create_token(session, eve, f"{SECRET}'s laptop")
    token = invitations.invite(session, bob, ["annotator"], eve.email or "")
    turn = {"role": "user", "content": SECRET}
    session.add_all(
        [
            Membership(project_id=project.id, user_id=eve.id, roles=["annotator"]),
            Chat(project_id=project.id, user_id=eve.id, messages=[turn]),
            ChatConsent(project_id=project.id, user_id=eve.id),
            Standing(
                project_id=project.id,
                user_id=eve.id,
                excluded_at=now(),
                excluded_because=f"{SECRET} is careless",
                paused_at=now(),
                paused_because=f"{SECRET} is ill",
            ),
        ]
    )
    session.flush()
    with_limit = f"{limits.SIGN_IN_BY_EMAIL.name} {eve.email}"
    session.add(RateLimit(key=with_limit, window_start=now(), hits=1))
    session.flush()
    assert SECRET in everything_kept(session)

    erasure.erase(session, eve, f" {SECRET.upper()}@example.org ")

    session.expire_all()
    assert SECRET not in everything_kept(session)
    assert (kept.verdict, kept.preferred, kept.strength, kept.user_id) == ("preferred", "a", 2, eve.id)
    assert (in_chat.verdict, in_chat.user_id) == ("skipped", eve.id), "nothing is learnt from texts that are gone"
    standing = session.scalars(select(Standing)).one()
    assert standing.excluded_at is not None
    assert standing.paused_at is None
    for table in (LoginSession, ApiToken, Membership, Chat, ChatConsent):
        assert session.scalars(select(table).where(table.user_id == eve.id)).all() == []
    assert session.scalars(select(Invitation)).one().revoked_at is not None
    assert token
    assert session.execute(
        text("select args from jobs.procrastinate_jobs where task_name = 'erase'")
    ).scalars().all() == [{"user_id": eve.id}]


def test_a_prompt_of_the_chat_that_others_judged_too_stays(
    session: Session, bob: User, eve: User, project: Project
) -> None:
    shared = make_prompt(session, project, "Why is the sky blue?", "chat")
    answer(session, make_comparison(session, shared), eve, "chat")
    answer(session, make_comparison(session, shared), bob, "chat")
    imported = make_comparison(session, make_prompt(session, project, "Why not?"))
    answer(session, imported, eve, "chat")
    texts = session.scalars(select(Response.text).order_by(Response.id)).all()
    erasure.erase(session, eve, eve.email or "")
    session.expire_all()
    said = [prompt.messages[0]["content"] for prompt in session.scalars(select(Prompt).order_by(Prompt.id))]
    assert said == ["Why is the sky blue?", "Why not?"]
    assert session.scalars(select(Response.text).order_by(Response.id)).all() == texts


def test_an_admin_erases_with_the_address_typed(client: TestClient, session: Session, bob: User, eve: User) -> None:
    browse_as(client, session, bob)
    refused = client.post(f"/people/{eve.id}/erase", data={"email": "bob@example.org"})
    assert refused.status_code == 422
    assert "This is not their e-mail address. Nothing was erased." in refused.text
    assert eve.erased_at is None
    assert client.post(f"/people/{eve.id}/erase", data={"email": eve.email}).status_code == 303
    shown = client.get(f"/people/{eve.id}").text
    assert f"Erased person {eve.id}" in shown
    assert "Save roles" not in shown
    assert f"Erased person {eve.id}" not in client.get("/people").text
    assert f"Erased person {eve.id}" in client.get("/people?q=is:erased").text
    assert f"Erased person {eve.id}" in client.get("/audit").text


def test_a_person_erases_themselves_and_is_out(client: TestClient, session: Session, bob: User, eve: User) -> None:
    browse_as(client, session, eve)
    assert client.post("/me/erase", data={"email": "eve"}).status_code == 422
    answered = client.post("/me/erase", data={"email": eve.email})
    assert answered.headers["location"] == "/sign-in"
    assert client.get("/me").status_code == 303
    assert eve.erased_at is not None


def test_the_last_admin_stays(client: TestClient, session: Session, bob: User) -> None:
    with pytest.raises(Conflict, match="last admin"):
        erasure.erase(session, bob, "bob@example.org")
    browse_as(client, session, bob)
    assert client.post("/me/erase", data={"email": bob.email}).status_code == 409
    assert bob.erased_at is None


def test_nothing_brings_them_back(client: TestClient, session: Session, bob: User, eve: User) -> None:
    erasure.erase(session, eve, eve.email or "")
    browse_as(client, session, bob)
    assert client.post(f"/people/{eve.id}/reactivate").status_code == 409
    assert client.post(f"/people/{eve.id}/roles", data={"roles": "admin"}).status_code == 409
    with pytest.raises(Conflict):
        erasure.erase(session, eve, "")
    again = people.create_user(session, f"{SECRET}@example.org", ["annotator"], None)
    assert again.id != eve.id


@pytest.mark.parametrize(
    "change",
    ["email = 'x@example.org'", "name = 'Eve'", "roles = '{admin}'", "deactivated_at = null", "language = 'ko'"],
)
def test_the_database_keeps_an_erased_person_nobody(session: Session, bob: User, eve: User, change: str) -> None:
    erasure.erase(session, eve, eve.email or "")
    with pytest.raises(IntegrityError, match="erased_is_nobody"), session.begin_nested():
        session.execute(text(f"update users set {change} where id = {eve.id}"))


def test_who_is_not_erased_has_an_address(session: Session, eve: User) -> None:
    with pytest.raises(IntegrityError, match="erased_is_nobody"), session.begin_nested():
        session.execute(text(f"update users set email = null where id = {eve.id}"))


def test_what_they_did_stays_in_the_audit_log_as_nobodys(session: Session, bob: User, eve: User) -> None:
    audit.record(session, "imported", by=eve)
    erasure.erase(session, eve, eve.email or "")
    told = json.loads("".join(audit.as_json(session, audit.Wanted())))
    assert [(row["action"], row["person_name"] or row["about_name"]) for row in told] == [
        ("imported", f"Erased person {eve.id}"),
        ("deactivated", f"Erased person {eve.id}"),
        ("erased", f"Erased person {eve.id}"),
    ]


def test_an_empty_confirmation_confirms_nothing(session: Session, bob: User, eve: User) -> None:
    with pytest.raises(BadInput):
        erasure.erase(session, eve, "")
