"""Exports from the request to the file, by a real worker."""

import hashlib
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.database import open_session
from app.datasets import exports, snapshots
from app.main import app
from app.models import Answer, Export, Run, SnapshotAnswer, now
from app.settings import settings
from tests.datasets.scene import Scene, make_scene
from tests.people import bearer, make_person, make_project
from tests.workers.worker import work_until_idle

EXPORTS = "/api/v1/projects/garden/exports"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artefact store of the test's own: the numbers of exports begin again in each."""
    monkeypatch.setattr(settings, "artifacts_url", tmp_path.as_uri())
    return tmp_path


@pytest.fixture
def scene(committed: None, store: Path) -> Scene:
    with open_session() as session:
        return make_scene(session)


@pytest.fixture
def api(scene: Scene) -> TestClient:
    """Bob, who is an admin, at the API."""
    with open_session() as session:
        headers = bearer(session, scene.bob)
    return TestClient(app, headers=headers)


def made(api: TestClient, **body: object) -> dict[str, object]:
    """An export that a worker has finished."""
    answer = api.post(EXPORTS, json=body)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    work_until_idle()
    found: dict[str, object] = api.get(f"/api/v1/exports/{answer.json()['id']}").json()
    return found


def test_a_worker_writes_the_file_that_was_asked_for(api: TestClient, scene: Scene, store: Path) -> None:
    export = made(api)
    assert (export["status"], export["error"], export["layout"], export["format"]) == (
        "succeeded",
        None,
        "preference",
        "jsonl",
    )
    assert (export["rows"], export["message"]) == (3, "Wrote 3 rows.")
    file = api.get(str(export["file"]))
    assert hashlib.sha256(file.content).hexdigest() == export["sha256"] == file.headers["etag"].strip('"')
    assert len(file.content) == export["bytes"]
    assert f'filename="garden-preference-{export["id"]}.jsonl"' in file.headers["content-disposition"]
    rows = [json.loads(line) for line in file.text.splitlines()]
    assert [row["answer"] for row in rows] == [str(scene.answers[n].id) for n in (0, 1, 5)]
    manifest = api.get(str(export["manifest"])).json()
    assert (manifest["sha256"], manifest["rows"]) == (export["sha256"], 3)
    assert [one["reason"] for one in manifest["exclusions"]] == ["simulated", "tie", "skipped"]
    assert manifest["snapshot"]["sha256"] == export["snapshot"]
    assert manifest == json.loads((store / "exports" / str(export["id"]) / "manifest.json").read_text())


def test_filters_and_format_are_kept(api: TestClient, scene: Scene) -> None:
    filters = {"simulated": True, "sources": ["page"], "until": "2026-03-03T00:00:00Z"}
    export = made(api, layout="raw", format="parquet", filters=filters)
    assert export["rows"] == 2
    assert export["filters"] == {"simulated": True, "sources": ["page"], "until": "2026-03-03T00:00:00+00:00"}
    assert api.get(str(export["file"])).content[:4] == b"PAR1"


def test_answers_of_an_export_are_held(api: TestClient, scene: Scene) -> None:
    made(api)
    with open_session() as session:
        assert session.get(SnapshotAnswer, (1, scene.answers[0].id)) is not None
        assert session.query(Export).one().snapshot_id == session.query(Run).filter_by(kind="export").one().snapshot_id


def test_two_exports_of_the_same_answers_share_a_snapshot(api: TestClient) -> None:
    one, other = made(api), made(api, layout="raw")
    assert one["snapshot"] == other["snapshot"]
    assert one["sha256"] != other["sha256"]
    assert made(api)["sha256"] == one["sha256"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"layout": "poem"}, "There is no layout 'poem'. Choose one of preference, margin,"),
        ({"format": "xlsx"}, "There is no format 'xlsx'. Choose one of jsonl, jsonl.gz,"),
        ({"format": "parquet.gz"}, "There is no format 'parquet.gz'."),
        ({"per": "person"}, "Rows are per answer or per comparison, not per 'person'."),
        ({"layout": "raw", "per": "comparison"}, "The layout 'raw' has no rows per comparison."),
        ({"filters": {"colour": 1}}, "'colour' is not a filter."),
        ({"layouts": "raw"}, "layouts: Extra inputs are not permitted."),
    ],
)
def test_what_does_not_exist_is_refused(api: TestClient, body: dict[str, object], sentence: str) -> None:
    answer = api.post(EXPORTS, json=body)
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]


def test_there_is_no_file_before_it_is_finished(api: TestClient) -> None:
    export = api.post(EXPORTS, json={}).json()
    assert (export["file"], export["manifest"]) == (None, None)
    for part in ("file", "manifest"):
        answer = api.get(f"/api/v1/exports/{export['id']}/{part}")
        assert (answer.status_code, answer.json()["detail"]) == (409, "This export is queued, so it has no file.")


def test_the_list_is_newest_first(api: TestClient) -> None:
    ids = [api.post(EXPORTS, json={}).json()["id"] for _ in range(3)]
    first = api.get(EXPORTS, params={"limit": 2}).json()
    assert [one["id"] for one in first["items"]] == [ids[2], ids[1]]
    rest = api.get(EXPORTS, params={"limit": 2, "cursor": first["next"]}).json()
    assert ([one["id"] for one in rest["items"]], rest["next"]) == ([ids[0]], None)


def test_only_admins_of_the_project_see_an_export(api: TestClient, scene: Scene) -> None:
    export = made(api)
    paths = [f"/api/v1/exports/{export['id']}{part}" for part in ("", "/file", "/manifest")]
    with open_session() as session:
        alice = TestClient(app, headers=bearer(session, scene.alice))
    for path in paths:
        assert alice.get(path).status_code == 403
        assert TestClient(app).get(path).status_code == 401
    assert alice.post(EXPORTS, json={}).status_code == 403
    with open_session() as session:
        session.merge(scene.project).restricted = True
    for path in [*paths, "/api/v1/exports/999", "/api/v1/exports/x", "/api/v1/exports/" + "9" * 30]:
        assert api.get(path).status_code == 404


def test_cancelling_before_a_worker_came_makes_no_file(api: TestClient, store: Path) -> None:
    export = api.post(EXPORTS, json={}).json()
    assert api.post(f"/api/v1/runs/{export['run']}/cancel").status_code == 202
    work_until_idle()
    assert api.get(f"/api/v1/exports/{export['id']}").json()["status"] == "cancelled"
    assert list(store.glob("exports/*")) == []


class Stopped(Exception):
    """What a worker's check raises."""


@pytest.mark.parametrize("after", [1, 2, 3])
def test_stopping_in_between_leaves_no_file_and_can_be_repeated(
    api: TestClient, store: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(exports, "TOLD_EVERY", 0)
    export = api.post(EXPORTS, json={}).json()
    asked = []

    def check() -> None:
        asked.append(now())
        if len(asked) == after:
            raise Stopped

    with pytest.raises(Stopped):
        exports.write(int(export["run"]), check)
    assert list(store.glob("exports/*")) == []
    work_until_idle()
    assert api.get(f"/api/v1/exports/{export['id']}").json()["status"] == "succeeded"


def test_progress_is_told_while_it_writes(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "TOLD_EVERY", 0)
    export = api.post(EXPORTS, json={}).json()
    seen = []

    def check() -> None:
        seen.append(api.get(f"/api/v1/exports/{export['id']}").json())

    exports.write(int(export["run"]), check)
    assert [(one["progress"]["phase"], one["message"]) for one in seen[1:]] == [
        ("snapshot", "Collected 5 answers."),
        ("write", "Wrote 5 of 5 answers."),
    ]


def test_a_damaged_snapshot_fails_with_a_sentence(api: TestClient, scene: Scene) -> None:
    with open_session() as session:
        snapshot = snapshots.take(session, session.merge(scene.project), exports.Filters())
        snapshot.manifest = {**snapshot.manifest, "files": {**snapshot.manifest["files"], "x": {}}}
    export = made(api)
    assert export["status"] == "failed"
    assert "Restore the artefact store from a backup" in str(export["error"])


def test_a_slug_and_a_layout_make_a_plain_file_name(committed: None) -> None:
    with open_session() as session:
        project = make_project(session, "a-1")
        export = Export(id=7, layout="raw", format="parquet", project_id=project.id)
        assert exports.file_name(project, export) == "a-1-raw-7.parquet"


def test_a_project_without_answers_gives_an_empty_file(committed: None, store: Path) -> None:
    with open_session() as session:
        make_project(session)
        api = TestClient(app, headers=bearer(session, make_person(session, "bob", "admin")))
        session.flush()
    export = made(api)
    assert (export["status"], export["rows"], export["bytes"]) == ("succeeded", 0, 0)
    assert api.get(str(export["file"])).content == b""


def test_an_export_does_not_change_when_answers_do(api: TestClient, scene: Scene) -> None:
    export = made(api)
    before = api.get(str(export["file"])).content
    with open_session() as session:
        session.get_one(Answer, scene.answers[0].id).preferred = "b"
        session.execute(text("update answers set revision = 2 where id = :id"), {"id": scene.answers[0].id})
    assert api.get(str(export["file"])).content == before
    assert made(api)["sha256"] != export["sha256"]
