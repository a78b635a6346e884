"""Imports by the API and the command: the same as the page, for files of any size."""

import gzip
import json
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from app.cli import app as pairloop
from app.database import open_session
from app.models import Project, Prompt, Run, Upload, WrongLine
from app.prompts import uploads
from tests.live_server import serving
from tests.people import bearer, make_person, make_project
from tests.workers.worker import worker

IMPORTS = "/api/v1/projects/garden/imports"
TABLE = b"frage,tags\nWarum?,a\nWie?,b\n,c\n"


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def bob(session: Session, project: Project) -> dict[str, str]:
    return bearer(session, make_person(session, "bob", "admin"))


@pytest.mark.parametrize("form", [False, True])
def test_a_file_is_taken_bare_or_in_a_form_and_becomes_a_run(
    client: TestClient, session: Session, bob: dict[str, str], form: bool
) -> None:
    sent = {"files": {"file": ("my.csv", TABLE)}} if form else {"content": TABLE}
    answer = client.post(IMPORTS, headers=bob, params={"map": "prompt=frage", "format": "csv"}, **sent)
    assert answer.status_code == 202, answer.text
    said = answer.json()
    assert (said["status"], said["layout"], said["format"]) == ("queued", "prompts", "csv")
    assert said["mapping"] == {"prompt": "frage", "tags": "tags"}
    assert said["file"] == ("my.csv" if form else "")
    assert client.get(f"/api/v1/imports/{said['id']}", headers=bob).json() == said
    assert client.get(IMPORTS, headers=bob).json() == {"items": [said], "next": None}
    ended = client.post(f"/api/v1/imports/{said['id']}/cancel", headers=bob).json()
    assert ended["status"] == "cancelled"


def test_a_preview_tells_what_would_be_stored_and_keeps_nothing(
    client: TestClient, session: Session, bob: dict[str, str]
) -> None:
    body = gzip.compress(b'{"prompt": "Why?", "chosen": "So.", "rejected": "No."}\n{"prompt": "How?"}\n')
    said = client.post(f"{IMPORTS}/preview", headers=bob, content=body).json()
    assert (said["format"], said["compression"], said["layout"], said["what"]) == (
        "jsonl",
        "gzip",
        "preference",
        "comparisons",
    )
    assert said["looked_at"] == {"rows": 2, "good": 1, "wrong": 1, "known": 0}
    first, second = said["first"]
    assert first["responses"] == ["So.", "No."]
    assert first["answers"] == [{"verdict": "preferred", "preferred": "a"}]
    assert second["why"].startswith("There are no two responses here.")
    assert session.scalars(select(Upload)).all() == []


def test_a_preview_shows_wrong_rows_wherever_they_stand_among_those_it_looked_at(
    client: TestClient, bob: dict[str, str]
) -> None:
    body = b'"Why?"\n' + b"".join(b'"Why %d?"\n' % n for n in range(50)) + b'{"prompt": ""}\n"How?"\n[]\n'
    said = client.post(f"{IMPORTS}/preview", headers=bob, content=body).json()
    assert [row["line"] for row in said["first"]] == [1, 2, 3, 4, 5, 6, 7, 8, 52, 54]
    assert [row["line"] for row in said["first"] if "why" in row] == [52, 54]


@pytest.mark.parametrize(
    ("params", "body", "sentence"),
    [
        ({}, b"", "nothing in it"),
        ({}, b"PK\x03\x04\x00", "zip"),
        ({"layout": "rows"}, b"Why?", "There is no layout 'rows'"),
        ({"format": "xml"}, b"Why?", "There is no format 'xml'"),
        ({"map": "prompt"}, b"Why?", "Write a mapping as part=column"),
        ({"map": "colour=x"}, b"Why?", "no part 'colour'"),
        ({"layout": "hh"}, b'{"chosen": "x", "rejected": "y"}', "None of the first 1 rows can be used"),
    ],
)
def test_what_cannot_work_is_refused_with_a_sentence_and_nothing_is_kept(
    client: TestClient, session: Session, bob: dict[str, str], params: dict[str, str], body: bytes, sentence: str
) -> None:
    refused = client.post(IMPORTS, headers=bob, params=params, content=body)
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert sentence in refused.json()["detail"]
    assert session.scalars(select(Upload)).all() == []
    assert session.scalars(select(Run)).all() == []


def test_too_much_is_refused_whether_it_says_so_or_not(
    client: TestClient, bob: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST", 1000)
    for content in (b"x" * 3_000_000, iter([b"x" * 800, b"x" * 800])):
        assert client.post(IMPORTS, headers=bob, content=content).status_code == 413


def test_only_the_project_s_admins_may(client: TestClient, session: Session, project: Project) -> None:
    run = Run(project_id=project.id, kind="import", status="succeeded", params={})
    session.add(run)
    session.flush()
    alice = bearer(session, make_person(session, "alice", "annotator"))
    for method, path in (
        ("POST", IMPORTS),
        ("POST", f"{IMPORTS}/preview"),
        ("GET", IMPORTS),
        ("GET", f"/api/v1/imports/{run.id}"),
        ("GET", f"/api/v1/imports/{run.id}/wrong-lines"),
        ("POST", f"/api/v1/imports/{run.id}/cancel"),
        ("POST", f"/api/v1/imports/{run.id}/withdraw"),
    ):
        assert client.request(method, path, headers=alice).status_code == 403, path
        assert client.request(method, path).status_code == 401, path
    assert client.get("/api/v1/imports/999", headers=alice).status_code == 404


@pytest.mark.usefixtures("committed")
def test_the_command_sends_a_file_waits_and_keeps_the_wrong_lines(tmp_path: Path) -> None:
    with open_session() as session:
        make_project(session).sampling = {"stock": 0}
        token = bearer(session, make_person(session, "bob", "admin"))["Authorization"].split()[1]
    file, wrong = tmp_path / "fragen.csv", tmp_path / "wrong.csv"
    file.write_bytes(TABLE)
    with serving() as url, worker():
        there = ["--project", "garden", "--token", token, "--url", url, "--format", "csv", "--map", "prompt=frage"]
        looked = CliRunner().invoke(pairloop, ["import", str(file), *there, "--check"])
        done = CliRunner().invoke(pairloop, ["import", str(file), *there, "--wrong-lines", str(wrong)])
        refused = CliRunner().invoke(pairloop, ["import", str(file), *there, "--layout", "hh"])
        answer = httpx.get(f"{url}{IMPORTS}", headers={"Authorization": f"Bearer {token}"})
    assert json.loads(looked.stdout)["looked_at"]["good"] == 2
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["added"], said["duplicates"], said["rejected_total"], said["rejected"][0]["line"]) == (2, 0, 1, 4)
    assert wrong.read_text() == "frage,tags\n,c\n"
    assert refused.exit_code == 1
    assert answer.json()["items"][0]["id"] == said["import"]
    with open_session() as session:
        assert len(session.scalars(select(Prompt)).all()) == 2
        assert session.scalars(select(WrongLine.line)).all() == [4]
