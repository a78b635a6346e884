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
    _labels_due(session, project, Retraining.from_json(project.retraining))
    stock_may_be_low(session, project)
    heads.fit_soon(session, project.id)


def _labels_due(session: Session, project: Project, policy: Retraining) -> Run | None:
    if policy.every is None or not may_start(project, policy):
        return None
    enough = new_answers(session, project.id, at_most=policy.every) >= policy.every
    return _start_chain(session, project, "labels") if enough else None


def may_start(project: Project, policy: Retraining) -> bool:
    """Whether a chain may start by itself now: neither archived nor paused, and not in the quiet hours."""
    return project.archived_at is None and project.paused_at is None and not policy.is_quiet(now())


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
    if project.archived_at or project.paused_at or stock == 0 or not _is_low(session, project.id, (stock + 1) // 2):
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


def missing_pairs(session: Session, project: Project) -> int:
    """How many pairs the stock lacks."""
    stock = Sampling.from_json(project.sampling).stock
    waiting = select(literal_column("1")).where(waiting_for_training(project.id)).limit(stock).subquery()
    return max(0, stock - (session.scalar(select(func.count()).select_from(waiting)) or 0))


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


def chains_due(session: Session) -> list[Run]:
    """Start the chains that are due since the last look: at their time, or by answers that came in quiet hours."""
    started = []
    for project in session.scalars(select(Project).where(Project.archived_at.is_(None), Project.paused_at.is_(None))):
        policy = Retraining.from_json(project.retraining)
        run = _cron_due(session, project, policy) or _labels_due(session, project, policy)
        started += [run] if run is not None else []
    return started


def _cron_due(session: Session, project: Project, policy: Retraining) -> Run | None:
    """The chain whose time has come, where there are new answers to learn from."""
    if policy.cron is None or not may_start(project, policy) or not _time_has_come(session, project, policy):
        return None
    return _start_chain(session, project, "cron") if new_answers(session, project.id, at_most=1) else None


def _time_has_come(session: Session, project: Project, policy: Retraining) -> bool:
    """Whether a moment of the cron line passed within the last hour and no chain was started since."""
    moment = now()
    due_at: datetime = croniter(policy.cron, moment.astimezone(policy.zone)).get_prev(datetime)
    if moment - due_at > LATE or due_at < project.created_at or policy.is_quiet(due_at):
        return False
    since = select(Run.id).where(Run.project_id == project.id, Run.kind == "chain", Run.created_at >= due_at)
    return session.scalar(since.limit(1)) is None


def next_time(policy: Retraining) -> datetime | None:
    """The next moment at which the cron line starts a chain, on the project's own clock; None: none within reach."""
    if policy.cron is None:
        return None
    moments = croniter(policy.cron, now().astimezone(policy.zone))
    # A line whose moments all lie in quiet hours is given up after a year of nights.
    found = (moments.get_next(datetime) for _ in range(366))
    return next((moment for moment in found if not policy.is_quiet(moment)), None)


def _start_chain(session: Session, project: Project, trigger: str) -> Run | None:
    """Start an automatic chain unless one is under way (a unique index decides, not a look beforehand)."""
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
