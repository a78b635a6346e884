"""Snapshots: the same answers give the same hash, other ones another, and what is held stays."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.database import open_session
from app.datasets import answer_table, snapshots
from app.datasets.filters import Filters
from app.datasets.pseudonyms import pseudonym
from app.datasets.snapshots import SnapshotDamaged
from app.models import Answer, Checkpoint, Run, Snapshot, SnapshotAnswer
from app.settings import settings
from tests.datasets.scene import DAY, Scene, make_scene
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import make_person, make_project
from workers import artifacts as trainers_view


def place(snapshot: Snapshot) -> Path:
    return Path(urlsplit(snapshot.url).path)


def rows_of(snapshot: Snapshot) -> list[dict[str, object]]:
    return [row for batch in snapshots.taken_rows(snapshot) for row in batch.to_pylist()]


def test_it_holds_one_row_per_answer_with_everything_that_is_known(session: Session, scene: Scene) -> None:
    snapshot = snapshots.take(session, scene.project, Filters())
    rows = rows_of(snapshot)
    first = scene.answers[0]
    assert [row["answer"] for row in rows] == [str(scene.answers[n].id) for n in (0, 1, 2, 3, 5)]
    comparison = first.comparison
    assert rows[0] == {
        "answer": str(first.id),
        "comparison": str(comparison.id),
        "prompt_id": str(comparison.prompt_id),
        "prompt": [{"role": "user", "content": "Question 0 of garden?"}],
        "prompt_hash": comparison.prompt.hash,
        "holdout": False,
        "response_a": "A row of bushes.",
        "response_b": "I cannot say.",
        "response_a_id": str(comparison.response_a_id),
        "response_b_id": str(comparison.response_b_id),
        "prompt_token_ids": [1, 5, 2],
        "tokens_a": [40, 41, 2],
        "tokens_b": [41, 41, 2],
        "finish_a": "stop",
        "finish_b": "stop",
        "verdict": "preferred",
        "preferred": "a",
        "strength": 1,
        "skip_reason": None,
        "flags": ["broken"],
        "criteria": '{"honest": "a", "helpful": 2}',
        "annotator": pseudonym(scene.alice.id),
        "seconds": 4.5,
        "created": DAY,
        "guideline_version": 1,
        "checkpoint_a": None,
        "checkpoint_b": None,
        "source": "page",
        "simulated": False,
        "purpose": "train",
        "shown_left": "b",
        "revision": 1,
    }
    assert (rows[1]["preferred"], rows[1]["strength"], rows[1]["seconds"], rows[1]["holdout"]) == ("b", 3, 6.0, True)
    assert (rows[3]["verdict"], rows[3]["skip_reason"]) == ("skipped", "unclear")
    imported = rows[4]
    assert (imported["source"], imported["annotator"], imported["tokens_a"], imported["shown_left"]) == (
        "import",
        None,
        None,
        None,
    )


@pytest.mark.parametrize("at_once", [1, 2, 3, 2048])
def test_answers_in_a_row_about_the_same_texts_have_them_all(
    session: Session, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(answer_table, "ROWS", at_once)
    project = make_project(session)
    people = [make_person(session, name, "annotator") for name in ("alice", "bob", "carol")]
    prompts = [make_prompt(session, project, f"Question {n}?", holdout=n == 1) for n in range(2)]
    pairs = [make_comparison(session, prompt) for prompt in (*prompts, prompts[0], prompts[0])]
    for n, pair in enumerate(pairs):
        pair.response_a.text, pair.response_a.token_ids = f"A {n}", [n, n + 1]
    pairs[2].response_a.token_ids, pairs[2].response_b.token_ids, pairs[2].response_a.finish_reason = None, [], None
    said = [(0, 0), (0, 1), (2, 0), (2, 1), (3, 0), (1, 0), (1, 1), (1, 2), (0, 2), (2, 2)]
    expected = []
    for n, who in said:
        answer, pair = make_answer(session, pairs[n], people[who]), pairs[n]
        a, b = pair.response_a, pair.response_b
        texts = (pair.prompt.messages, pair.prompt.hash, pair.prompt.holdout, a.text, b.text)
        expected.append((str(answer.id), *texts, a.token_ids, b.token_ids, a.finish_reason, b.finish_reason))
    columns = ["answer", "prompt", "prompt_hash", "holdout"]
    columns += [f"{name}_{side}" for name in ("response", "tokens", "finish") for side in "ab"]
    rows = rows_of(snapshots.take(session, project, Filters()))
    assert [tuple(row[name] for name in columns) for row in rows] == expected


def test_where_the_disk_is_full_the_connection_comes_back(
    session: Session, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **how: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(answer_table, "ROWS", 1)
    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full)
    # The error is kept, and with it all that was under way, as a worker keeps it that tells why a run failed.
    with pytest.raises(OSError, match="No space left") as kept:
        snapshots.take(session, scene.project, Filters())
    session.rollback()
    assert kept.value
    assert session.scalars(select(Snapshot)).all() == []


def test_the_schema_is_the_same_whatever_the_rows_hold(session: Session, scene: Scene) -> None:
    empty = snapshots.take(session, make_project(session, "empty"), Filters())
    for snapshot in (empty, snapshots.take(session, scene.project, Filters())):
        table = pq.read_schema(place(snapshot) / "answers.parquet")
        assert table.remove_metadata() == answer_table.SCHEMA
    assert rows_of(empty) == []
    assert empty.manifest["answers"] == 0


def test_no_row_names_a_person_and_rationales_lie_apart(session: Session, scene: Scene) -> None:
    snapshot = snapshots.take(session, scene.project, Filters(), created_by=scene.bob)
    assert list(snapshots.taken_rationales(snapshot)) == [(str(scene.answers[0].id), "It is right.")]
    for file in place(snapshot).iterdir():
        content = file.read_bytes()
        assert b"alice" not in content
        assert file.name == "rationales.parquet" or b"It is right." not in content
    assert "alice" not in json.dumps(snapshot.manifest)
    assert snapshot.manifest["taken_by"] == pseudonym(scene.bob.id) != pseudonym(scene.alice.id)


def test_the_same_answers_give_the_same_snapshot(session: Session, scene: Scene) -> None:
    first = snapshots.take(session, scene.project, Filters())
    again = snapshots.take(session, scene.project, Filters())
    wider = snapshots.take(session, scene.project, Filters(until=DAY + timedelta(days=99)))
    assert first.id == again.id == wider.id
    assert len(list(place(first).parent.glob(first.sha256))) == 1
    assert not [path for path in place(first).parent.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize("change", ["corrected", "undone", "reworded", "one more"])
def test_other_answers_give_another_snapshot_and_the_first_one_stays(
    session: Session, scene: Scene, change: str
) -> None:
    held = {scene.answers[n].id for n in (1, 2, 3, 5)}
    narrow = Filters(since=DAY + timedelta(days=1))
    first = snapshots.take(session, scene.project, narrow)
    before = rows_of(first)
    if change == "corrected":
        scene.answers[1].preferred, scene.answers[1].revision = "a", 2
    elif change == "reworded":
        scene.answers[1].rationale = "On second thoughts, no."
    elif change == "undone":
        narrow = Filters(since=DAY + timedelta(days=2))
    else:
        narrow = Filters()
    second = snapshots.take(session, scene.project, narrow)
    assert second.sha256 != first.sha256
    assert rows_of(first) == before
    kept = session.execute(select(SnapshotAnswer).where(SnapshotAnswer.snapshot_id == first.id)).scalars().all()
    assert {one.answer_id: one.revision for one in kept} == dict.fromkeys(held, 1)
    if change == "corrected":
        newest = session.get_one(SnapshotAnswer, (second.id, scene.answers[1].id))
        assert newest.revision == 2


def test_projects_without_answers_have_snapshots_of_their_own(session: Session) -> None:
    one, other = (snapshots.take(session, make_project(session, slug), Filters()) for slug in ("one", "other"))
    assert one.sha256 != other.sha256


def test_a_held_answer_cannot_be_deleted(session: Session, scene: Scene) -> None:
    snapshots.take(session, scene.project, Filters())
    with pytest.raises(IntegrityError), session.begin_nested():
        session.execute(delete(Answer).where(Answer.id == scene.answers[0].id))
    session.execute(delete(Answer).where(Answer.id == scene.answers[4].id))


def test_an_answer_cannot_be_undone_while_a_snapshot_is_being_taken(committed: None) -> None:
    """The other connection waits until the snapshot is there, and is then refused."""
    with open_session() as session:
        scene = make_scene(session)
    with open_session() as taking:
        snapshots.take(taking, scene.project, Filters())
        with open_session() as undoing:
            undoing.connection().exec_driver_sql("set local lock_timeout = '200ms'")
            with pytest.raises(OperationalError, match="lock timeout"), undoing.begin_nested():
                undoing.execute(delete(Answer).where(Answer.id == scene.answers[0].id))
        with open_session() as correcting:
            correcting.get_one(Answer, scene.answers[0].id).preferred = "b"
    with pytest.raises(IntegrityError), open_session() as undoing:
        undoing.execute(delete(Answer).where(Answer.id == scene.answers[0].id))


def test_the_hash_is_the_manifests_and_the_trainer_reads_the_same_files(session: Session, scene: Scene) -> None:
    snapshot = snapshots.take(session, scene.project, Filters())
    manifest = (place(snapshot) / "manifest.json").read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == snapshot.sha256 == place(snapshot).name
    files = trainers_view.read(snapshot.url, snapshot.sha256)
    assert set(files) == {"answers.parquet", "rationales.parquet"}
    assert json.loads((place(snapshot) / "card.json").read_text()) == snapshot.manifest


def test_the_card_counts_and_says_what_was_left_out(session: Session, scene: Scene) -> None:
    run = Run(project_id=scene.project.id, kind="ppo")
    session.add(run)
    session.flush()
    policy = Checkpoint(
        project_id=scene.project.id, kind="policy", base_model="tiny", run_id=run.id, url="x", sha256="y"
    )
    session.add(policy)
    session.flush()
    scene.answers[1].comparison.response_a.checkpoint_id = policy.id
    filters = Filters(until=DAY + timedelta(days=5), purposes=("train",))
    card = snapshots.take(session, scene.project, filters).manifest
    assert card["answers"] == 3
    assert card["counts"] == {
        "verdict": {"preferred": 2, "tie": 0, "both_bad": 0, "skipped": 1, "cannot_judge": 0},
        "purpose": {"train": 3},
        "source": {"page": 3},
    }
    assert card["exclusions"] == [
        {"reason": "simulated", "answers": 1, "why": "Simulated annotators gave these."},
        {"reason": "until", "answers": 1, "why": "These are newer than the chosen time."},
        {"reason": "purposes", "answers": 1, "why": "Their comparisons serve a purpose that was not chosen."},
    ]
    assert card["checkpoints"] == [
        {"checkpoint": None, "base_model": "tiny", "responses": 5},
        {"checkpoint": str(policy.id), "base_model": "tiny", "responses": 1},
    ]
    assert (card["annotators"], card["holdout"], card["simulated"]) == (2, 1, False)
    assert card["guideline_versions"] == {"1": 3}
    assert (card["first"], card["last"]) == (DAY.isoformat(), (DAY + timedelta(days=3)).isoformat())


def test_simulated_answers_are_in_only_when_asked_for(session: Session, scene: Scene) -> None:
    card = snapshots.take(session, scene.project, Filters(simulated=True)).manifest
    assert (card["answers"], card["simulated"], card["simulated_answers"], card["exclusions"]) == (6, True, 1, [])


def test_changed_or_lost_files_are_refused_and_taken_again(session: Session, scene: Scene) -> None:
    snapshot = snapshots.take(session, scene.project, Filters())
    file = place(snapshot) / "answers.parquet"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(SnapshotDamaged, match="was changed"):
        rows_of(snapshot)
    file.unlink()
    with pytest.raises(SnapshotDamaged, match="is gone"):
        rows_of(snapshot)
    assert snapshots.take(session, scene.project, Filters()).id == snapshot.id
    assert len(rows_of(snapshot)) == 5
    snapshot.manifest = {**snapshot.manifest, "files": {**snapshot.manifest["files"], "more.parquet": {}}}
    with pytest.raises(SnapshotDamaged):
        rows_of(snapshot)


def test_removed_rationales_leave_the_snapshot_readable(session: Session, scene: Scene) -> None:
    snapshot = snapshots.take(session, scene.project, Filters())
    (place(snapshot) / "rationales.parquet").unlink()
    assert len(rows_of(snapshot)) == 5
    assert list(snapshots.taken_rationales(snapshot)) == []
    assert snapshots.take(session, scene.project, Filters()).id == snapshot.id
    assert not (place(snapshot) / "rationales.parquet").exists()


def test_more_rows_than_a_group_come_back_in_order(
    session: Session, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_table, "ROWS", 2)
    monkeypatch.setattr(snapshots, "HELD_AT_ONCE", 2)
    told: list[int] = []
    snapshot = snapshots.take(session, scene.project, Filters(), report=told.append)
    assert told == [2, 4, 5]
    assert pq.read_metadata(place(snapshot) / "answers.parquet").num_row_groups == 3
    ids = [int(str(row["answer"])) for row in rows_of(snapshot)]
    assert ids == sorted(ids)
    assert len(ids) == 5


def test_stopping_leaves_nothing(session: Session, scene: Scene) -> None:
    def stop(answers: int) -> None:
        raise KeyboardInterrupt

    before = set(Path(settings.data_dir, "artifacts", "snapshots").glob("*"))
    with pytest.raises(KeyboardInterrupt), session.begin_nested():
        snapshots.take(session, scene.project, Filters(), report=stop)
    assert set(Path(settings.data_dir, "artifacts", "snapshots").glob("*")) == before
    assert session.scalar(select(Snapshot)) is None


def test_it_works_on_a_store_that_is_no_directory(
    session: Session, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "artifacts_url", "memory://somewhere")
    snapshot = snapshots.take(session, scene.project, Filters())
    assert snapshot.url == f"memory://somewhere/snapshots/{snapshot.sha256}"
    assert len(rows_of(snapshot)) == 5
    assert snapshots.take(session, scene.project, Filters()).id == snapshot.id
    assert trainers_view.read_manifest(snapshot.url, snapshot.sha256)["kind"] == "snapshot"
