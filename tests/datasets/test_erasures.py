"""Erasing a person takes what they wrote out of snapshots and exports, and leaves what they chose."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.database import open_session
from app.datasets import erasures, exports, snapshots
from app.datasets.filters import Filters
from app.main import app
from app.models import Answer, Export, Snapshot, User
from app.queue import enqueue
from app.settings import settings
from tests.datasets.scene import Scene, make_scene
from tests.people import bearer
from tests.workers.worker import work_until_idle

EXPORTS = "/api/v1/projects/garden/exports"


@pytest.fixture
def scene(committed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Alice and Bob gave a reason each."""
    monkeypatch.setattr(settings, "artifacts_url", tmp_path.as_uri())
    with open_session() as session:
        scene = make_scene(session)
        scene.answers[1].rationale = "The other one dreams."
        return scene


@pytest.fixture
def api(scene: Scene) -> TestClient:
    with open_session() as session:
        return TestClient(app, headers=bearer(session, scene.bob))


def erase_alice(scene: Scene) -> None:
    with open_session() as session:
        session.execute(update(Answer).where(Answer.user_id == scene.alice.id).values(rationale=""))
        enqueue(session, "erase", user_id=scene.alice.id)
    work_until_idle()


def made(api: TestClient, layout: str) -> str:
    export = api.post(EXPORTS, json={"layout": layout}).json()["id"]
    work_until_idle()
    return f"/api/v1/exports/{export}"


def test_a_snapshot_loses_the_persons_reasons_and_says_so(scene: Scene) -> None:
    with open_session() as session:
        snapshot = snapshots.take(session, session.merge(scene.project), Filters())
    place = Path(urlsplit(snapshot.url).path)
    answers = (place / "answers.parquet").read_bytes()
    erase_alice(scene)
    with open_session() as session:
        kept = session.get_one(Snapshot, snapshot.id)
    assert list(snapshots.taken_rationales(kept)) == [(str(scene.answers[1].id), "The other one dreams.")]
    assert (place / "answers.parquet").read_bytes() == answers
    assert not any(b"It is right." in file.read_bytes() for file in place.iterdir())
    assert [one["rationales"] for one in kept.manifest["erasures"]] == [1]
    assert json.loads((place / "card.json").read_text()) == kept.manifest
    assert kept.manifest["files"] == snapshot.manifest["files"]
    assert kept.sha256 == snapshot.sha256


def test_files_that_show_reasons_are_removed_and_can_be_made_again(api: TestClient, scene: Scene) -> None:
    raw, preference = made(api, "raw"), made(api, "preference")
    assert "It is right." in api.get(f"{raw}/file").text
    erase_alice(scene)
    answer = api.get(f"{raw}/file")
    assert answer.status_code == 410
    assert "Make it again." in answer.json()["detail"]
    assert api.get(raw).json()["file"] is None
    assert api.get(f"{preference}/file").status_code == 200
    again = api.get(f"{made(api, 'raw')}/file").text
    assert "It is right." not in again
    assert "The other one dreams." in again
    assert len(again.splitlines()) == 5


def test_erasing_again_changes_nothing(scene: Scene) -> None:
    with open_session() as session:
        snapshots.take(session, session.merge(scene.project), Filters())
    erase_alice(scene)
    with open_session() as session:
        assert erasures.erase(session, session.merge(scene.alice)) == (0, 0)


def test_an_erasure_whose_record_was_lost_is_mended_by_the_next(scene: Scene) -> None:
    with open_session() as session:
        snapshot = snapshots.take(session, session.merge(scene.project), Filters())
    with open_session() as session:
        erasures.erase(session, session.get_one(User, scene.alice.id))
        session.rollback()
    erase_alice(scene)
    with open_session() as session:
        kept = session.get_one(Snapshot, snapshot.id)
    assert [text for _, text in snapshots.taken_rationales(kept)] == ["The other one dreams."]


def test_an_export_that_is_being_written_meanwhile_is_written_again(
    api: TestClient, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "TOLD_EVERY", 0)
    export = api.post(EXPORTS, json={"layout": "raw"}).json()
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 2:  # the rows are written; only putting the file in place is left
            with open_session() as session:
                session.execute(update(Answer).where(Answer.user_id == scene.alice.id).values(rationale=""))
                erasures.erase(session, session.get_one(User, scene.alice.id))

    exports.write(int(export["run"]), check)
    with open_session() as session:
        kept = session.get_one(Export, int(export["id"]))
    assert kept.url is not None
    assert b"It is right." not in Path(urlsplit(kept.url).path).read_bytes()
