"""The jobs that come by the clock, and the rescue of what a dead worker left behind.

workers/jobs.py imports this module, so every worker knows these jobs: `every_minute`, `clean_up`, `rescue`.
"""

import asyncio
import logging
from datetime import timedelta

from procrastinate import exceptions
from procrastinate.jobs import Status
from sqlalchemy import delete, select, text, update

from app.checkpoints import cleaning, trials
from app.database import open_session
from app.live_head import heads
from app.models import Assignment, LoginSession, Project, RateLimit, Run, now
from app.prompts import uploads
from app.queue import DEFAULT, queue
from app.runs import due, steps
from workers import artifacts, logs

log = logging.getLogger(__name__)

STALLED = 20.0  # s without a heartbeat after which a worker counts as dead


# A queueing_lock keeps one of each waiting; together with `lock` or `retry` it would block itself for ever.
@queue.periodic(cron="* * * * *")
@queue.task(name="every_minute", queue=DEFAULT, queueing_lock="every_minute")
def every_minute(timestamp: int) -> None:
    """Start chains whose time has come, refill stocks, decide trials, and end leases and sessions that ran out."""
    with open_session() as session:
        due.chains_due(session)
    with open_session() as session:
        for project in session.query(Project).filter(Project.archived_at.is_(None)):
            due.stock_may_be_low(session, project)
            heads.look_after(session, project)
    with open_session() as session:
        trials.conclude(session)
    with open_session() as session:
        over = (Assignment.status == "leased") & (Assignment.leased_until < now() - timedelta(minutes=1))
        session.execute(update(Assignment).where(over).values(status="expired"))
        session.execute(delete(LoginSession).where(LoginSession.expires_at < now()))
        session.execute(delete(RateLimit).where(RateLimit.window_start < now() - timedelta(days=1)))
    uploads.forget_old()


@queue.periodic(cron="17 3 * * *")
@queue.task(name="clean_up", queue=DEFAULT, queueing_lock="clean_up")
def clean_up(timestamp: int) -> None:
    """Remove the files of models that no project keeps by its policy, and packages and logs after their time."""
    with open_session() as session:
        logs.forget_old(session)
        cleaning.measure(session)
        projects = session.scalars(select(Project.id)).all()
    for project_id in projects:
        with open_session() as session:
            urls = cleaning.take_out(session, session.get_one(Project, project_id))
        # Only after the commit: nobody can promote it any more.
        for url in urls:
            log.info("%s is cleaned up.", url)
            artifacts.delete(url)


@queue.periodic(cron="* * * * *")
@queue.task(name="rescue", queue=DEFAULT, queueing_lock="rescue")
async def rescue(timestamp: int) -> None:
    """Take up again what a dead worker left behind."""
    await rescue_stalled(STALLED)


async def rescue_stalled(seconds: float) -> None:
    """Put jobs whose worker has shown no sign of life for so long back into the queue, and runs without a job too."""
    for job in await queue.job_manager.get_stalled_jobs(seconds_since_heartbeat=seconds):
        log.warning("Job %s (%s) lost its worker and is taken up again.", job.id, job.task_name)
        try:
            await queue.job_manager.retry_job(job)
        except exceptions.ConnectorException:
            # A twin with the same queueing lock waits already (procrastinate's issue 1446).
            assert job.id is not None
            await queue.job_manager.finish_job_by_id_async(job.id, status=Status.FAILED, delete_job=False)
    await asyncio.to_thread(_requeue_lost_runs)


def _requeue_lost_runs() -> None:
    """A run that is under way but has no job (its job broke while the database was away) gets a new one."""
    lost = text("""
        select id from runs
        where status in ('queued', 'running') and kind <> 'chain' and not exists (
            select 1 from jobs.procrastinate_jobs
            where status in ('todo', 'doing') and (args ->> 'run_id')::bigint = runs.id)
        for update skip locked
    """)
    with open_session() as session:
        for run_id in session.scalars(lost).all():
            log.warning("Run %s has no job and gets a new one.", run_id)
            steps.enqueue_run(session, session.get_one(Run, run_id))
