"""What speaks for and against a model, as its page shows it: the runs that made and judged it, found again."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.checkpoints import gates, pictures
from app.models import Checkpoint, Project, Run
from app.models.policies import Gates


@dataclass(frozen=True)
class Evidence:
    """Figures as pictures, answers side by side, and what got worse."""

    shares: pictures.Shares | None
    calibration: list[pictures.Bin]
    surprising: int
    """How many people's answers the reward model's run listed as surprising."""
    judged_by: Run | None
    """The newest evaluation of a policy."""
    samples: list[dict[str, Any]]
    regressions: list[dict[str, Any]]
    kl_budget: float | None
    failed: list[dict[str, Any]]
    """The gates' checks that it did not pass."""


def of(session: Session, checkpoint: Checkpoint) -> Evidence:
    """Everything that is known of a checkpoint's worth."""
    made_by = session.get_one(Run, checkpoint.run_id)
    judged_by = evaluation(session, checkpoint) if checkpoint.kind == "policy" else None
    shown = pictures.of_policy if checkpoint.kind == "policy" else pictures.of_reward
    return Evidence(
        shares=shown(checkpoint.metrics),
        calibration=pictures.calibration(made_by.result.get("calibration", [])),
        surprising=len(made_by.result.get("surprising", [])),
        judged_by=judged_by,
        samples=(judged_by or made_by).samples,
        regressions=judged_by.result.get("regressions", []) if judged_by else [],
        kl_budget=_kl_budget(session, checkpoint, judged_by),
        failed=gates.failed(checkpoint.gate),
    )


def evaluation(session: Session, checkpoint: Checkpoint) -> Run | None:
    """The newest `evaluate` run about a policy that ended well."""
    about = Run.params["checkpoint"].astext == str(checkpoint.id)
    return session.scalar(
        select(Run)
        .where(Run.project_id == checkpoint.project_id, Run.kind == "evaluate", Run.status == "succeeded", about)
        .order_by(Run.id.desc())
        .limit(1)
    )


def _kl_budget(session: Session, checkpoint: Checkpoint, judged_by: Run | None) -> float | None:
    chosen = Gates.from_json(session.get_one(Project, checkpoint.project_id).gates).kl_budget
    if chosen is not None or judged_by is None:
        return chosen
    budget: float | None = judged_by.result.get("spec", {}).get("hyper", {}).get("kl_budget")
    return budget
