"""What became of a project's answers between two snapshots."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.models import VERDICTS, Snapshot

SHOWN = 50
COUNTED = text("""
    select count(*) filter (where old.revision is null) as added,
        count(*) filter (where new.revision is null) as removed,
        count(*) filter (where old.revision <> new.revision) as revised,
        count(*) filter (where old.revision = new.revision) as unchanged
    from (select * from snapshot_answers where snapshot_id = :old) as old
    full join (select * from snapshot_answers where snapshot_id = :new) as new using (answer_id)
""")
REVISED = text("""
    select answer_id, old.revision, new.revision from snapshot_answers as old
    join snapshot_answers as new using (answer_id)
    where old.snapshot_id = :old and new.snapshot_id = :new and old.revision <> new.revision
    order by answer_id limit :shown
""")


def counted(session: Session, old: Snapshot, new: Snapshot) -> dict[str, int]:
    """How many answers are only in the new snapshot, only in the old one, in another revision, and the same in both."""
    return dict(session.execute(COUNTED, {"old": old.id, "new": new.id}).mappings().one())


def between(session: Session, old: Snapshot, new: Snapshot) -> dict[str, Any]:
    """Both snapshots side by side: whose answers are where, the first revised ones, and what the manifests count.

    A correction is a new revision of an answer; each snapshot keeps the one it hashed.
    """
    revised = session.execute(REVISED, {"old": old.id, "new": new.id, "shown": SHOWN}).all()
    cards = old.manifest, new.manifest
    versions = sorted({int(version) for card in cards for version in card["guideline_versions"]})
    return {
        "old": old.sha256,
        "new": new.sha256,
        **counted(session, old, new),
        "verdicts": {one: [card["counts"]["verdict"].get(one, 0) for card in cards] for one in VERDICTS},
        "guideline_versions": {str(v): [card["guideline_versions"].get(str(v), 0) for card in cards] for v in versions},
        "first_revised": [{"answer": str(id), "revisions": [before, after]} for id, before, after in revised],
    }
