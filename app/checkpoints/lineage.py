"""Where a checkpoint came from and what became of it: parents, answers, promotions."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.checkpoints import checkpoints
from app.models import Checkpoint, Project, Promotion, Response, Run, User


@dataclass(frozen=True)
class InUse:
    """What is in front of a project for one kind, since when and by whom, and what going back would bring."""

    kind: str
    checkpoint: Checkpoint | None
    since: Promotion | None
    by: User | None
    before: int | None


@dataclass(frozen=True)
class Lineage:
    """What a checkpoint was made from, and how much it wrote."""

    policy: Checkpoint | None
    reward: Checkpoint | None
    ancestors: list[Checkpoint]
    wrote_pairs: bool
    brought: bool
    """Whether it was trained elsewhere."""


def in_use(session: Session, project: Project, kind: str) -> InUse:
    """What is in front of the project now."""
    since = checkpoints.last_promotion(session, project.id, kind)
    by = session.get(User, since.promoted_by_id) if since and since.promoted_by_id else None
    before = since.previous_id if since else None
    return InUse(kind, checkpoints.promoted(session, project.id, kind), since, by, before)


def of(session: Session, checkpoint: Checkpoint) -> Lineage:
    """The checkpoint's parents and, for a policy, its line back to the base model."""
    ancestors: list[Checkpoint] = []
    parent = _get(session, checkpoint.policy_parent_id)
    while parent is not None and len(ancestors) < 100:
        ancestors.append(parent)
        parent = _get(session, parent.policy_parent_id)
    wrote = session.scalar(select(Response.id).where(Response.checkpoint_id == checkpoint.id).limit(1))
    return Lineage(
        policy=ancestors[0] if ancestors else None,
        reward=_get(session, checkpoint.reward_parent_id),
        ancestors=ancestors,
        wrote_pairs=wrote is not None,
        brought=session.scalar(select(Run.kind).where(Run.id == checkpoint.run_id)) == "import",
    )


def history(session: Session, checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """When it was put in front or taken back, newest first, and by whom (nobody: the loop itself)."""
    rows = session.execute(
        select(Promotion, User)
        .outerjoin(User, User.id == Promotion.promoted_by_id)
        .where((Promotion.checkpoint_id == checkpoint.id) | (Promotion.previous_id == checkpoint.id))
        .order_by(Promotion.id.desc())
    )
    return [{"at": row.created_at, "promoted": row.checkpoint_id == checkpoint.id, "by": by} for row, by in rows]


def _get(session: Session, checkpoint_id: int | None) -> Checkpoint | None:
    return session.get(Checkpoint, checkpoint_id) if checkpoint_id else None
