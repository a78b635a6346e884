"""What a person wrote is taken out of kept snapshots and exports; what they chose stays, under a pseudonym.

A rationale and what somebody said in a chat are free text, which may say who wrote it. They lie in files of their own,
so that removing some of it leaves the answers, and everything that was trained on them, as they were hashed.
"""

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from app.datasets import answer_table, artifacts, snapshots
from app.datasets.layouts import LAYOUTS
from app.models import Answer, Export, Snapshot, SnapshotAnswer, User, now


class Erased(NamedTuple):
    snapshots: int
    """Snapshots from whose rationales or chats something was removed."""
    exports: int
    """Exports whose file showed it and was removed; it can be made again."""


def erase(session: Session, person: User) -> Erased:
    """Remove the person's words from every snapshot, and the files of exports that show them; recorded in both.

    Those in the answers table are the caller's to remove, before. Files change at once, the record with the caller's
    transaction: where that fails, the same again mends it.
    """
    answered = select(Answer.project_id).where(Answer.user_id == person.id).distinct().order_by(Answer.project_id)
    for project_id in session.scalars(answered).all():
        # A snapshot that is being taken may have read them already.
        snapshots.one_at_a_time(session, project_id)
    holding = select(SnapshotAnswer.snapshot_id).join(Answer).where(Answer.user_id == person.id)
    kept = session.scalars(select(Snapshot).where(Snapshot.id.in_(holding)).order_by(Snapshot.id).with_for_update())
    changed = {snapshot: removed for snapshot in kept.all() if (removed := _erase_from(session, snapshot, person))}
    return Erased(len(changed), sum(_remove_files(session, *one) for one in changed.items()))


def _erase_from(session: Session, snapshot: Snapshot, person: User) -> dict[str, int]:
    """Write the snapshot's words again without this person's; how many rows went from each file that changed."""
    held = (
        select(cast(Answer.id, Text))
        .join(SnapshotAnswer, SnapshotAnswer.answer_id == Answer.id)
        .where(
            SnapshotAnswer.snapshot_id == snapshot.id,
            Answer.user_id == person.id,
            Answer.project_id == snapshot.project_id,
        )
    )
    theirs = pa.array(session.scalars(held).all(), pa.string())
    removed, files = dict[str, int](), dict[str, dict[str, Any]]()
    for name in snapshots.ERASABLE:
        url = f"{snapshot.url}/{name}"
        if artifacts.exists(url):
            gone = _without(url, theirs)
            facts = artifacts.facts_at(url)
            if facts != snapshots.facts_of(snapshot, name):
                removed[name], files[name] = gone, facts
    if removed:
        said = {name.removesuffix(".parquet"): n for name, n in removed.items()}
        erasure = {"when": now().isoformat(), **said, "files": files}
        snapshot.manifest = {**snapshot.manifest, "erasures": [*snapshot.manifest.get("erasures", []), erasure]}
        snapshots.write_card(snapshot)
    return removed


def _without(url: str, theirs: pa.Array) -> int:
    """Write a file of the store again without the rows of these answers, and say how many there were."""
    with artifacts.opened(url) as file:
        said = pq.read_table(file)
    others = said.filter(pc.invert(pc.is_in(said["answer"], theirs)))
    removed: int = said.num_rows - others.num_rows
    if removed:
        with artifacts.rewritten(url) as path:
            pq.write_table(others, path, compression="zstd", row_group_size=answer_table.ROWS)
    return removed


def _remove_files(session: Session, snapshot: Snapshot, removed: dict[str, int]) -> int:
    """Remove the files of exports from this snapshot that show what went, and say how many there were."""
    shown = [name for name, one in LAYOUTS.items() if snapshots.CHATS in removed or "rationale" in one.schema.names]
    made = select(Export).where(Export.snapshot_id == snapshot.id, Export.layout.in_(shown), Export.url.is_not(None))
    exports = session.scalars(made.with_for_update()).all()
    for export in exports:
        artifacts.remove(artifacts.url_of("exports", str(export.id)))
        export.url, export.manifest = None, {**export.manifest, "erased": now().isoformat()}
    return len(exports)
