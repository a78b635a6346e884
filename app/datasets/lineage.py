"""Who read a snapshot: the runs that learnt from it, what they made, the files written from it; and who wrote it."""

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.models import TRAINING_KINDS, Checkpoint, Export, Project, Response, Run, Snapshot


def runs_of(session: Session, snapshot: Snapshot) -> list[Run]:
    """The training runs that read it, newest first."""
    read = select(Run).where(Run.snapshot_id == snapshot.id, Run.kind.in_(TRAINING_KINDS))
    return list(session.scalars(read.order_by(Run.id.desc())))


def checkpoints_of(session: Session, snapshot: Snapshot) -> list[Checkpoint]:
    """The checkpoints that were made of it, newest first."""
    made = select(Checkpoint).where(Checkpoint.snapshot_id == snapshot.id)
    return list(session.scalars(made.order_by(Checkpoint.id.desc())))


def exports_of(session: Session, snapshot: Snapshot) -> list[Export]:
    """The exports that were made from it, newest first."""
    made = select(Export).options(joinedload(Export.run)).where(Export.snapshot_id == snapshot.id)
    return list(session.scalars(made.order_by(Export.id.desc())))


def writers_of(session: Session, project: Project) -> list[Checkpoint]:
    """The policies whose responses the project compares, newest first."""
    wrote = select(Response.id).where(Response.checkpoint_id == Checkpoint.id).exists()
    found = select(Checkpoint).where(Checkpoint.project_id == project.id, Checkpoint.kind == "policy", wrote)
    return list(session.scalars(found.order_by(Checkpoint.id.desc())))
