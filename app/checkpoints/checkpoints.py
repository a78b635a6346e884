"""What training made: registered, promoted (the engine uses it at once), retired, rolled back."""

from typing import Any

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session, joinedload

from app.accounts import audit
from app.accounts.access import Access, may
from app.checkpoints import sizes
from app.errors import BadInput, Conflict, NotFound
from app.languages import _
from app.lists import Asked, Listing, itself, page_of
from app.models import Assignment, Checkpoint, Comparison, Project, Promotion, Response, Run, User, now
from app.queue import enqueue

KINDS = {"reward": "reward", "ppo": "policy", "dpo": "policy", "import": "policy"}
"""Which kind of checkpoint each kind of run makes."""


def register(session: Session, run: Run, result: dict[str, Any]) -> Checkpoint:
    """Keep what a run made as a candidate, with its metrics, its gate and its parents. Twice is the same as once."""
    made = session.scalar(select(Checkpoint).where(Checkpoint.run_id == run.id))
    if made is not None:
        return made
    project = session.get_one(Project, run.project_id)
    parents = run.result.get("parents", {})
    made = Checkpoint(
        project_id=run.project_id,
        kind=KINDS[run.kind],
        base_model=project.base_model,
        run_id=run.id,
        policy_parent_id=parents.get("policy"),
        reward_parent_id=parents.get("reward"),
        snapshot_id=run.snapshot_id,
        url=result["checkpoint"]["url"],
        sha256=result["checkpoint"]["sha256"],
        metrics=result.get("metrics", {}),
        gate=result["gate"],
        bytes=sizes.of(result["checkpoint"]["url"]),
    )
    session.add(made)
    session.flush()
    return made


def promoted(session: Session, project_id: int, kind: str) -> Checkpoint | None:
    """The checkpoint in front; None means that the base model answers (or that nothing scores)."""
    return session.scalar(
        select(Checkpoint).where(
            Checkpoint.project_id == project_id, Checkpoint.kind == kind, Checkpoint.status == "promoted"
        )
    )


def newest_candidate(session: Session, project_id: int, kind: str) -> Checkpoint | None:
    """The checkpoint that training made last and that nobody promoted or retired yet."""
    return session.scalar(
        select(Checkpoint)
        .where(Checkpoint.project_id == project_id, Checkpoint.kind == kind, Checkpoint.status == "candidate")
        .order_by(Checkpoint.id.desc())
        .limit(1)
    )


def named(session: Session, project: Project, checkpoint_id: object, kind: str) -> Checkpoint:
    """The checkpoint of this project and kind that a parameter names; raises BadInput."""
    text = str(checkpoint_id)
    found = session.get(Checkpoint, int(text)) if text.isdecimal() and len(text) < 19 else None
    if found is None or found.project_id != project.id or found.kind != kind:
        raise BadInput(
            _("This project has no {kind} checkpoint {text!r}. Its page of models lists what there is.").format(
                kind=kind, text=text
            )
        )
    return found


def promote(session: Session, access: Access | None, checkpoint: Checkpoint, run: Run | None = None) -> Checkpoint:
    """Put the checkpoint in front of its project, all at once; promoting what is promoted changes nothing."""
    one_at_a_time(session, checkpoint.project_id)
    session.refresh(checkpoint)
    if checkpoint.removed_at is not None:
        raise Conflict(_("The files of this checkpoint were cleaned up, so it cannot be used any more."))
    if checkpoint.status != "promoted":
        _told(session, "promoted", access, checkpoint)
        _put_in_front(session, access, checkpoint.project_id, checkpoint.kind, checkpoint, run)
    return checkpoint


def retire(session: Session, access: Access, checkpoint: Checkpoint) -> Checkpoint:
    """Take a checkpoint out of use; after a promoted policy the base model answers again. Twice is the same as once."""
    one_at_a_time(session, checkpoint.project_id)
    session.refresh(checkpoint)
    if checkpoint.status != "retired":
        _told(session, "retired", access, checkpoint)
    if checkpoint.status == "promoted":
        _put_in_front(session, access, checkpoint.project_id, checkpoint.kind, None, None)
    checkpoint.status = "retired"
    return checkpoint


def roll_back(session: Session, access: Access, kind: str) -> Checkpoint | None:
    """Put back in front what was there before the last promotion (None: the base model); Conflict without one."""
    one_at_a_time(session, access.project.id)
    last = last_promotion(session, access.project.id, kind)
    if last is None:
        raise Conflict(_("Nothing was promoted here yet, so there is nothing to go back to."))
    before = session.get(Checkpoint, last.previous_id) if last.previous_id else None
    if before is None or before.status != "promoted":
        to = before.id if before else None
        audit.record(session, "rolled_back", by=access.person, project=access.project, kind=kind, to=to)
        _put_in_front(session, access, access.project.id, kind, before, None)
    return before


def last_promotion(session: Session, project_id: int, kind: str) -> Promotion | None:
    """The newest change of what is in front."""
    return session.scalar(
        select(Promotion)
        .where(Promotion.project_id == project_id, Promotion.kind == kind)
        .order_by(Promotion.id.desc())
        .limit(1)
    )


def find(session: Session, person: User, checkpoint_id: str) -> tuple[Access, Checkpoint]:
    """Fetch and authorise in one call; operators alone, and what a hidden project has does not exist."""
    known = checkpoint_id.isdecimal() and len(checkpoint_id) < 19
    found = session.get(Checkpoint, int(checkpoint_id)) if known else None
    if found is None:
        raise NotFound(
            _("There is no checkpoint {checkpoint_id!r} that you may see.").format(checkpoint_id=checkpoint_id)
        )
    return may(session, person, session.get_one(Project, found.project_id), "operator"), found


def newest(
    session: Session, project: Project, kind: str | None = None, before: int | None = None, limit: int = 50
) -> list[Checkpoint]:
    """A project's checkpoints, newest first, older than the checkpoint `before`."""
    query = select(Checkpoint).options(joinedload(Checkpoint.snapshot)).where(Checkpoint.project_id == project.id)
    if kind is not None:
        query = query.where(Checkpoint.kind == kind)
    if before is not None:
        query = query.where(Checkpoint.id < before)
    return list(session.scalars(query.order_by(Checkpoint.id.desc()).limit(limit)))


COLUMNS = {
    "made": Checkpoint.id,
    **{
        name: func.coalesce(Checkpoint.metrics[name].as_float(), -1.0)
        for name in ("win_rate", "kl", "length", "accuracy", "length_baseline")
    },
}
"""What the lists of models are sorted by; a figure that is not known stands below every other."""


def listed(session: Session, project: Project, kind: str, asked: Asked, path: str) -> Listing[Checkpoint]:
    """A page of a project's checkpoints of one kind, newest first where no other order is asked for."""
    query = select(Checkpoint).options(joinedload(Checkpoint.snapshot))
    query = query.where(Checkpoint.project_id == project.id, Checkpoint.kind == kind)
    also = {"kind": kind}
    return page_of(session, query, Checkpoint.id, COLUMNS, asked, path, "-made", make=itself, also=also)


def as_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint as programs read it."""
    parents = {"policy": checkpoint.policy_parent_id, "reward": checkpoint.reward_parent_id}
    return {
        "id": str(checkpoint.id),
        "kind": checkpoint.kind,
        "status": checkpoint.status,
        "base_model": checkpoint.base_model,
        "created": checkpoint.created_at.isoformat(),
        "metrics": checkpoint.metrics,
        "gate": checkpoint.gate,
        "parents": {kind: str(parent) if parent else None for kind, parent in parents.items()},
        "snapshot": checkpoint.snapshot.sha256 if checkpoint.snapshot else None,
        "run": str(checkpoint.run_id),
        "url": checkpoint.url,
        "sha256": checkpoint.sha256,
        "bytes": checkpoint.bytes,
        "removed": checkpoint.removed_at.isoformat() if checkpoint.removed_at else None,
    }


def _told(session: Session, action: str, access: Access | None, checkpoint: Checkpoint) -> None:
    person = access.person if access else None
    project, kind = checkpoint.project_id, checkpoint.kind
    audit.record(session, action, by=person, project=project, checkpoint=checkpoint.id, kind=kind)


def one_at_a_time(session: Session, project_id: int) -> None:
    """Let promotions of a project wait for each other, and for pairs that are being stored right now."""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update(key_share=True))


def _put_in_front(
    session: Session, access: Access | None, project_id: int, kind: str, checkpoint: Checkpoint | None, run: Run | None
) -> None:
    previous = promoted(session, project_id, kind)
    if previous is not None:
        previous.status = "retired"
        session.flush()
    if checkpoint is not None:
        checkpoint.status = "promoted"
    session.add(
        Promotion(
            project_id=project_id,
            kind=kind,
            checkpoint_id=checkpoint.id if checkpoint else None,
            previous_id=previous.id if previous else None,
            promoted_by_id=access.person.id if access else None,
            run_id=run.id if run else None,
        )
    )
    session.flush()
    if kind == "policy":
        _withdraw_pairs_of_others(session, project_id, checkpoint.id if checkpoint else None)
    # By the queue, because this room may not know app/runs: live pages hear of it and the stock is filled again.
    enqueue(session, "refill", project_id=project_id)


def _withdraw_pairs_of_others(session: Session, project_id: int, policy_id: int | None) -> None:
    """Withdraw waiting pairs for training and its test that another policy wrote and that nobody holds.

    The rows are locked first, passing over those being claimed at this moment; the second statement then sees every
    lease that was committed before.
    """
    waiting = (
        select(Comparison.id)
        .join(Response, Response.id == Comparison.response_a_id)
        .where(
            Comparison.project_id == project_id,
            Comparison.status == "waiting",
            Comparison.purpose.in_(("train", "holdout")),
            Comparison.source == "sample",
            Response.checkpoint_id.is_distinct_from(policy_id),
        )
        .with_for_update(skip_locked=True, key_share=True, of=Comparison)
    )
    held = exists().where(
        Assignment.comparison_id == Comparison.id, Assignment.status == "leased", Assignment.leased_until > now()
    )
    session.execute(
        update(Comparison)
        .where(Comparison.id.in_(session.scalars(waiting).all()), ~held)
        .values(status="withdrawn")
        .execution_options(synchronize_session=False)
    )
