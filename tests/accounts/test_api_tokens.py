"""API tokens: shown once, hashed, revoked by whom they belong to."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import tokens
from app.accounts.access import token_hash
from app.models import ApiToken, User
from tests.people import browse_as, make_person


@pytest.fixture
def alice(client: TestClient, session: Session) -> User:
    person = make_person(session, "alice", "annotator")
    browse_as(client, session, person)
    return person


def test_a_token_is_shown_once_and_works(client: TestClient, session: Session, alice: User) -> None:
    answer = client.post("/me/tokens", data={"name": "nightly import"})
    assert answer.status_code == 201
    shown = re.search(r'value="(pairloop_[\w-]+)"', answer.text)
    assert shown is not None
    later = client.get("/me").text
    assert shown[1] not in later
    assert f"{shown[1][:15]}…" in later
    kept = session.scalars(select(ApiToken)).one()
    assert kept.token_hash == token_hash(shown[1])
    client.cookies.clear()
    assert client.get("/me", headers={"Authorization": f"Bearer {shown[1]}"}).status_code == 200
    session.refresh(kept)
    assert kept.last_used_at is not None


def test_a_revoked_token_is_refused(client: TestClient, session: Session, alice: User) -> None:
    token = tokens.create_token(session, alice, "lost")
    [kept] = tokens.open_tokens(session, alice)
    assert client.post(f"/me/tokens/{kept.id}/revoke").status_code == 303
    client.cookies.clear()
    assert client.get("/api/v1/projects", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_nobody_revokes_another_persons_token(client: TestClient, session: Session, alice: User) -> None:
    bob = make_person(session, "bob", "admin")
    tokens.create_token(session, bob, "bob's")
    [kept] = tokens.open_tokens(session, bob)
    assert client.post(f"/me/tokens/{kept.id}/revoke").status_code == 404
    assert kept.revoked_at is None


@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
def test_a_token_needs_a_name(client: TestClient, session: Session, alice: User, name: str) -> None:
    answer = client.post("/me/tokens", data={"name": name})
    assert answer.status_code == 422
    assert "Give the token a name" in answer.text
    assert session.scalars(select(ApiToken)).all() == []


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer wrong", "Basic YWxpY2U6cHc="])
def test_a_wrong_token_is_a_problem_document(client: TestClient, session: Session, header: str) -> None:
    answer = client.get("/api/v1/projects", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "Sign in first, or send a valid bearer token."
