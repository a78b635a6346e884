"""What is due without anybody asking: a chain after enough new answers or at its time, pairs when few are left."""

from datetime import datetime, timedelta

from croniter import croniter
from sqlalchemy import BigInteger, ColumnElement, case, cast, exists, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.live_head import heads
from app.models import DECISIVE, Answer, Comparison, Project, Prompt, Run, now
from app.models.policies import Retraining, Sampling
from app.runs import live, steps

REST = timedelta(minutes=5)
"""How long nothing refills the stock after a refill that failed, was cancelled or made nothing."""
LATE = timedelta(hours=1)
"""How late a chain still starts when no worker ran at its time."""


def after_answer(session: Session, project: Project) -> None:
    """Start what this answer made due; runs on every answer, in its transaction, with a few indexed queries."""
    policy = Retraining.from_json(project.retraining)
    if policy.every is not None and new_answers(session, project.id, at_most=policy.every) >= policy.every:
        _start_chain(session, project, "labels")
    stock_may_be_low(session, project)
    heads.fit_soon(session, project.id)


def new_answers(session: Session, project_id: int, at_most: int | None = None) -> int:
    """How many decisive answers came since the last chain or reward run took count.

    Imported ones never count, nor those that only measure people.

    Counts no further than `at_most`, so that asking on every answer stays cheap.
    """
    counted = (
        select(cast(Run.result["answers_until"].astext, BigInteger))
        .where(Run.project_id == project_id, Run.kind.in_(("chain", "reward")))
        .order_by(Run.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    newer = (
        select(literal_column("1"))
        .where(
            Answer.project_id == project_id,
            Answer.id > func.coalesce(counted, 0),
            Answer.verdict.in_(DECISIVE),
            Answer.source != "import",
            ~Answer.measures,
        )
        .limit(at_most)
        .subquery()
    )
    return session.scalar(select(func.count()).select_from(newer)) or 0


def stock_may_be_low(session: Session, project: Project) -> Run | None:
    """Start a `sample` run where fewer than half the stock of pairs wait and there are prompts to sample."""
    stock = Sampling.from_json(project.sampling).stock
    if project.archived_at is not None or stock == 0 or not _is_low(session, project.id, (stock + 1) // 2):
        return None
    last = session.scalar(
        select(Run).where(Run.project_id == project.id, Run.trigger == "stock").order_by(Run.id.desc()).limit(1)
    )
    if (last is not None and _rests(last)) or _is_filling(session, project.id):
        return None
    values = {"project_id": project.id, "kind": "sample", "trigger": "stock"}
    found = session.scalar(
        insert(Run)
        .values(values)
        .on_conflict_do_nothing(
            index_elements=["project_id"],
            index_where=text("status IN ('queued', 'running') AND trigger = 'stock'"),
        )
        .returning(Run)
    )
    if found is not None:
        steps.enqueue_run(session, found)
        live.announce(session, project.id)
    return found


def waiting_for_training(project_id: int) -> ColumnElement[bool]:
    """The comparisons that count as stock: waiting ones that people label to train and to test the models."""
    return (
        (Comparison.project_id == project_id)
        & (Comparison.status == literal_column("'waiting'"))
        & Comparison.purpose.in_(("train", "holdout"))
    )


def _is_low(session: Session, project_id: int, below: int) -> bool:
    waiting = select(literal_column("1")).where(waiting_for_training(project_id)).limit(below).subquery()
    prompts = exists().where(Prompt.project_id == project_id, Prompt.sampled, Prompt.withdrawn_at.is_(None))
    few = select(func.count()).select_from(waiting).scalar_subquery() < below
    # The second question is asked only where the first one says yes.
    return bool(session.scalar(select(case((few, select(prompts).scalar_subquery()), else_=False))))


def _is_filling(session: Session, project_id: int) -> bool:
    """Whether a run that somebody or a chain started fills the stock already; a second one would only overshoot."""
    mine = (Run.project_id == project_id) & (Run.kind == "sample") & Run.status.in_(("queued", "running"))
    return session.scalar(select(Run.id).where(mine, ~Run.params.has_key("comparisons")).limit(1)) is not None


def _rests(last: Run) -> bool:
    """Whether the last refill is under way, or ended so lately and so badly that another one would end the same."""
    if last.finished_at is None:
        return True
    badly = last.status != "succeeded" or not last.done
    return badly and now() - last.finished_at < REST


def cron_due(session: Session) -> list[Run]:
    """Start the chains whose time has come since the last look, where there are new answers to learn from."""
    started = []
    projects = select(Project).where(Project.retraining["cron"].astext.is_not(None), Project.archived_at.is_(None))
    for project in session.scalars(projects).all():
        cron = Retraining.from_json(project.retraining).cron
        if cron is None or not _time_has_come(session, project, cron):
            continue
        if new_answers(session, project.id, at_most=1) and (run := _start_chain(session, project, "cron")) is not None:
            started.append(run)
    return started


def _time_has_come(session: Session, project: Project, cron: str) -> bool:
    """Whether a moment of the cron line passed within the last hour and no chain was started since."""
    moment = now()
    due_at: datetime = croniter(cron, moment).get_prev(datetime)
    if moment - due_at > LATE or due_at < project.created_at:
        return False
    since = select(Run.id).where(Run.project_id == project.id, Run.kind == "chain", Run.created_at >= due_at)
    return session.scalar(since.limit(1)) is None


def _start_chain(session: Session, project: Project, trigger: str) -> Run | None:
    """Start an automatic chain unless one is under way (a unique index decides, not a look beforehand)."""
    if project.archived_at is not None:
        return None
    found = session.scalar(
        insert(Run)
        .values(project_id=project.id, kind="chain", trigger=trigger)
        .on_conflict_do_nothing(
            index_elements=["project_id"],
            index_where=text("status IN ('queued', 'running') AND kind = 'chain' AND trigger IN ('labels', 'cron')"),
        )
        .returning(Run)
    )
    if found is not None:
        steps.begin_chain(session, found)
    return found
