"""Old files: how much of the disk the models take, and which may go by the project's policy."""

from datetime import timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.checkpoints import checkpoints, sizes
from app.datasets import artifacts
from app.models import FINISHED, Checkpoint, Comparison, Project, Response, Run, Trial, now
from app.models.policies import Keeping

PACKAGE_DAYS = 7
"""A package can be written again at any time, so its file goes after a week."""


def disk_use(session: Session, project: Project) -> dict[str, int]:
    """Bytes by what they are: `policy`, `reward`, `package`."""
    there = (Checkpoint.project_id == project.id) & Checkpoint.removed_at.is_(None)
    by_kind = select(Checkpoint.kind, func.sum(Checkpoint.bytes)).where(there).group_by(Checkpoint.kind)
    found = {kind: int(size or 0) for kind, size in session.execute(by_kind).all()}
    packages = session.scalars(_packages(project.id)).all()
    found["package"] = sum(run.result["package"]["bytes"] for run in packages if not run.result.get("removed"))
    return found


def measure(session: Session) -> None:
    """Look up the size of checkpoints that nobody has measured yet."""
    unknown = select(Checkpoint).where(Checkpoint.bytes.is_(None), Checkpoint.removed_at.is_(None))
    for checkpoint in session.scalars(unknown).all():
        checkpoint.bytes = sizes.of(checkpoint.url)


def take_out(session: Session, project: Project) -> list[str]:
    """Mark the models and packages that may go as removed, and return the addresses of their files.

    Who deletes these does so after the commit: until then nothing is gone. Promotions wait meanwhile.
    """
    checkpoints.one_at_a_time(session, project.id)
    moment, urls = now(), []
    for checkpoint in _removable(session, project):
        checkpoint.removed_at = moment
        urls.append(checkpoint.url)
    for run in session.scalars(_packages(project.id).where(Run.finished_at < moment - timedelta(days=PACKAGE_DAYS))):
        if not run.result.get("removed"):
            run.result = {**run.result, "removed": True}
            urls.append(artifacts.url_of("packages", str(run.id)))
    session.flush()
    return urls


def _removable(session: Session, project: Project) -> list[Checkpoint]:
    policy = Keeping.from_json(project.keeping)
    if policy.days is None:
        return []
    there = select(Checkpoint).where(Checkpoint.project_id == project.id, Checkpoint.removed_at.is_(None))
    every = list(session.scalars(there.order_by(Checkpoint.id.desc())))
    young = now() - timedelta(days=policy.days)
    kept = {one.id for one in every if one.status == "promoted" or one.created_at > young}
    for kind in ("policy", "reward"):
        kept |= {one.id for one in [one for one in every if one.kind == kind][: policy.newest]}
    kept |= _needed(session, project)
    _with_ancestors(every, kept)
    return [one for one in every if one.id not in kept]


def _needed(session: Session, project: Project) -> set[int]:
    """What going back, open trials, runs under way and waiting pairs refer to."""
    found: set[int | None] = set()
    for kind in ("policy", "reward"):
        last = checkpoints.last_promotion(session, project.id, kind)
        found |= {last.previous_id, last.checkpoint_id} if last else set()
    for trial in session.scalars(select(Trial).where(Trial.project_id == project.id, Trial.status == "open")):
        found |= {trial.candidate_id, trial.opponent_id}
    for run in session.scalars(select(Run).where(Run.project_id == project.id, Run.status.not_in(FINISHED))):
        named = [run.params.get(name) for name in ("checkpoint", "reward", "candidate")]
        found |= {int(one) for one in named if one} | set(run.result.get("parents", {}).values())
    waiting = select(Response.checkpoint_id).join(
        Comparison, (Comparison.response_a_id == Response.id) | (Comparison.response_b_id == Response.id)
    )
    waits = waiting.where(Comparison.project_id == project.id, Comparison.status == "waiting")
    found |= set(session.scalars(waits.distinct()))
    return {one for one in found if one is not None}


def _with_ancestors(every: list[Checkpoint], kept: set[int]) -> None:
    """Keep what something kept was made from, back to the base model: its card names it."""
    # Newest first, so that a parent is reached after all its children.
    for one in every:
        if one.id in kept:
            kept |= {parent for parent in (one.policy_parent_id, one.reward_parent_id) if parent is not None}


def _packages(project_id: int) -> Select[Run]:
    return select(Run).where(
        Run.project_id == project_id,
        Run.kind == "export",
        Run.status == "succeeded",
        Run.params.has_key("checkpoint"),
    )
