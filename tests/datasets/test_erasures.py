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
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import bearer
from tests.workers.worker import work_until_idle
from workers.artifacts import ArtifactDamaged
from workers.reward.data import read_table

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


def chatted(scene: Scene, person: User, words: str) -> Answer:
    """A choice between two answers of a chat, stored as the chat stores it."""
    with open_session() as session:
        project = session.merge(scene.project)
        comparison = make_comparison(session, make_prompt(session, project, f"I am {words}."))
        comparison.response_a.text, comparison.response_b.text = f"Hello {words}.", f"Welcome {words}."
        answer = make_answer(session, comparison, person, "preferred", source="chat")
        session.flush()
        return answer


def test_a_snapshot_loses_what_the_person_said_in_chats_and_stays_readable(api: TestClient, scene: Scene) -> None:
    hers, his = chatted(scene, scene.alice, "Dorothea"), chatted(scene, scene.bob, "Casaubon")
    with open_session() as session:
        snapshot = snapshots.take(session, session.merge(scene.project), Filters())
    place = Path(urlsplit(snapshot.url).path)
    assert b"Dorothea" not in (place / "answers.parquet").read_bytes()
    whole = {row["answer"]: row for batch in snapshots.taken_rows(snapshot) for row in batch.to_pylist()}
    assert whole[str(hers.id)]["prompt"][0]["content"] == "I am Dorothea."
    assert whole[str(hers.id)]["response_b"] == "Welcome Dorothea."
    assert {row["answer"]: row for row in read_table(snapshot.url, snapshot.sha256)} == whole
    erase_alice(scene)
    with open_session() as session:
        kept = session.get_one(Snapshot, snapshot.id)
    assert [one["chats"] for one in kept.manifest["erasures"]] == [1]
    page = api.get(f"/projects/garden/snapshots/{snapshot.sha256}").text
    assert "1 row removed from rationales.parquet" in page
    assert "1 row removed from chats.parquet" in page
    rows = {row["answer"]: row for batch in snapshots.taken_rows(kept) for row in batch.to_pylist()}
    gone = rows[str(hers.id)]
    assert (gone["prompt"], gone["response_a"]) == ([{"role": "user", "content": "(removed)"}], "(removed)")
    assert (gone["verdict"], gone["preferred"], gone["skip_reason"]) == ("skipped", None, "erased")
    assert rows[str(his.id)] == whole[str(his.id)]
    # Training reads the same snapshot on, without what is gone.
    read = {row["answer"]: row for row in read_table(kept.url, kept.sha256)}
    assert read == {id: row for id, row in whole.items() if id != str(hers.id)}


def test_files_that_show_chats_are_removed_whatever_their_layout(api: TestClient, scene: Scene) -> None:
    chatted(scene, scene.alice, "Dorothea")
    preference = made(api, "preference")
    assert "Dorothea" in api.get(f"{preference}/file").text
    erase_alice(scene)
    assert api.get(f"{preference}/file").status_code == 410


def test_a_changed_file_of_chats_is_noticed_by_training(scene: Scene) -> None:
    chatted(scene, scene.alice, "Dorothea")
    with open_session() as session:
        snapshot = snapshots.take(session, session.merge(scene.project), Filters())
    file = Path(urlsplit(snapshot.url).path) / "chats.parquet"
    file.write_bytes(file.read_bytes() + b"!")
    with pytest.raises(ArtifactDamaged, match=r"chats\.parquet is not the file that was recorded"):
        read_table(snapshot.url, snapshot.sha256)


def test_without_chats_there_is_no_file_for_them(scene: Scene) -> None:
    with open_session() as session:
        snapshot = snapshots.take(session, session.merge(scene.project), Filters())
    assert set(snapshot.manifest["files"]) == {"answers.parquet", "rationales.parquet"}


def test_its_page_says_so_where_only_chats_were_erased(api: TestClient, scene: Scene) -> None:
    with open_session() as session:
        session.execute(update(Answer).values(rationale=""))
    chatted(scene, scene.alice, "Dorothea")
    with open_session() as session:
        snapshot = snapshots.take(session, session.merge(scene.project), Filters())
    erase_alice(scene)
    page = api.get(f"/projects/garden/snapshots/{snapshot.sha256}")
    assert page.status_code == 200
    assert "1 row removed from chats.parquet" in page.text
    assert "rationales.parquet, which" not in page.text
