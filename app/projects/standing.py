"""Where a project stands: what waits, what was answered, which model is in front, and what happens next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from croniter import croniter  # type: ignore[import-untyped]
from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.checkpoints import checkpoints
from app.labeling import comparisons
from app.models import DECISIVE, FINISHED, Answer, Checkpoint, Project, Prompt, Run, now
from app.models.policies import Retraining, Sampling
from app.runs import due
from app.templating import _

TRAINING = ("reward", "ppo", "dpo", "evaluate", "chain")


@dataclass(frozen=True)
class Line:
    """A project's line in the list of projects."""

    project: Project
    waiting: int
    answers: int
    last_training: datetime | None


@dataclass(frozen=True)
class Standing:
    """What the project's own page says. `new_answers`: decisive ones since training last took count."""

    waiting: int
    answers: int
    new_answers: int
    policy: Checkpoint | None
    reward: Checkpoint | None
    under_way: list[Run]
    last_sample: Run | None
    has_prompts: bool


def lines(session: Session, projects: Sequence[Project]) -> list[Line]:
    """What the list of projects says of each, in its order."""
    ids = [project.id for project in projects]
    answers = dict(
        session.execute(
            select(Answer.project_id, func.count())
            .where(Answer.project_id.in_(ids), Answer.verdict.in_(DECISIVE))
            .group_by(Answer.project_id)
        ).all()
    )
    trained = dict(
        session.execute(
            select(Run.project_id, func.max(Run.finished_at))
            .where(Run.project_id.in_(ids), Run.kind.in_(TRAINING), Run.status == "succeeded")
            .group_by(Run.project_id)
        ).all()
    )
    return [
        Line(project, comparisons.waiting(session, project.id), answers.get(project.id, 0), trained.get(project.id))
        for project in projects
    ]


def of(session: Session, project: Project) -> Standing:
    """Where one project stands now."""
    under_way = session.scalars(
        select(Run).where(Run.project_id == project.id, Run.status.not_in(FINISHED)).order_by(Run.id.desc())
    )
    last_sample = session.scalar(
        select(Run).where(Run.project_id == project.id, Run.kind == "sample").order_by(Run.id.desc()).limit(1)
    )
    has_prompts = exists().where(Prompt.project_id == project.id, Prompt.sampled, Prompt.withdrawn_at.is_(None))
    return Standing(
        waiting=comparisons.waiting(session, project.id),
        answers=_answers(session, project),
        new_answers=due.new_answers(session, project.id),
        policy=checkpoints.promoted(session, project.id, "policy"),
        reward=checkpoints.promoted(session, project.id, "reward"),
        under_way=list(under_way),
        last_sample=last_sample,
        has_prompts=bool(session.scalar(select(has_prompts))),
    )


def _answers(session: Session, project: Project) -> int:
    counted = select(func.count()).where(Answer.project_id == project.id, Answer.verdict.in_(DECISIVE))
    return session.scalar(counted) or 0


def what_happens_next(project: Project, standing: Standing) -> list[str]:
    """One sentence about the pairs and one about training."""
    if project.archived_at is not None:
        return [_("This project is archived: nothing is sampled or trained until an admin brings it back.")]
    return [sentence for sentence in (_about_pairs(project, standing), _about_training(project, standing)) if sentence]


def _about_pairs(project: Project, standing: Standing) -> str:
    if standing.waiting:
        return ""
    if any(run.kind == "sample" for run in standing.under_way):
        return _("The model is writing the next pairs; the first of them come within a minute or so.")
    if not standing.has_prompts:
        return _("There are no prompts to write answers to. Pairs follow by themselves once an admin brings some in.")
    if Sampling.from_json(project.sampling).stock == 0:
        return _(
            "No pairs are written by themselves, because the stock is set to 0. An operator can start a sample run."
        )
    last = standing.last_sample
    if last is not None and last.status == "failed":
        why = last.error or _("The run page says why.")
        return _("The last attempt to write pairs failed, and the next follows in a few minutes. {why}").format(why=why)
    return _("No pair waits right now. The next ones are written as soon as a worker and the model are free.")


def _about_training(project: Project, standing: Standing) -> str:
    if any(run.kind in TRAINING for run in standing.under_way):
        return _("Training is under way.")
    policy = Retraining.from_json(project.retraining)
    left = max(1, policy.every - standing.new_answers) if policy.every is not None else None
    moment = croniter(policy.cron, now()).get_next(datetime).strftime("%Y-%m-%d %H:%M UTC") if policy.cron else None
    if left is not None and moment is not None:
        both = _("Training starts by itself after {left} more answers, or on {moment}, whichever comes first.")
        return both.format(left=left, moment=moment)
    if left == 1:
        return _("Training starts by itself after one more answer.")
    if left is not None:
        return _("Training starts by itself after {left} more answers.").format(left=left)
    if moment is not None:
        return _("Training starts by itself on {moment}, if there are new answers by then.").format(moment=moment)
    return _("Nothing trains by itself here. An operator starts training under Runs.")
