"""One function per job that is put on the queue, and the worker that serves them; never torch.

The web puts jobs on the queue by these names: `train`, `sample`, `export`, `import`, `erase`, `refill`, `live_head`,
`features`. What comes by the clock stands in workers/periodic.py.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from procrastinate import JobContext, RetryStrategy
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.database import open_session
from app.datasets import erasures, exports
from app.errors import DomainError
from app.labeling import repeats
from app.models import FINISHED, Project, Run, User
from app.prompts import imports
from app.queue import DEFAULT, TRAIN, queue
from app.runs import due, facts, fence, live, progress, steps
from app.runs.progress import Cancelled, Failed, PutBack
from app.settings import settings
from workers import artifacts, blind, launch, logs, packages, pairs, periodic, specs
from workers.launch import Ending, Stop
from workers.live_head import missing, refit
from workers.logs import RunLog

log = logging.getLogger(__name__)

HEARTBEAT = 5.0  # s
CANCEL_GRACE = 1.2  # s; nothing of a cancelled run is used, so it need not end in order
SHUTDOWN_GRACE = 5.0  # s


class Watch:
    """What a job asks while it works: shall it end, and why?"""

    def __init__(self, context: JobContext, connection: Connection, run_id: int) -> None:
        self.context = context
        self.connection = connection
        self.run_id = run_id

    def __call__(self) -> str | None:
        """`cancel` when somebody asked for that, `shutdown` when the worker stops, else None.

        Asked over the connection that holds the fence: when that is lost, this raises and the work ends.
        """
        if self.context.should_abort():
            return "shutdown"
        with Session(self.connection) as session:
            return "cancel" if progress.cancel_requested(session, self.run_id) else None

    def go_on(self) -> None:
        """Raise Cancelled or PutBack where the work shall end."""
        if (why := self()) is not None:
            raise Cancelled if why == "cancel" else PutBack("Its worker was stopped; another one goes on.")

    def for_child(self) -> Stop | None:
        """The same answer as an order to a child."""
        why = self()
        return Stop(why, CANCEL_GRACE if why == "cancel" else SHUTDOWN_GRACE) if why else None


def work_on(context: JobContext, run_id: int, work: Callable[[int, Watch], None]) -> None:
    """Take the run up, do its work behind its fence, and end it in words whatever happens."""
    with fence.hold(run_id) as connection:
        if connection is None:
            log.info("Run %s is being worked on elsewhere.", run_id)
            return
        try:
            with open_session() as session:
                taken = progress.take_up(session, run_id)
            if taken is not None:
                work(run_id, Watch(context, connection, run_id))
        except Cancelled:
            with _ending(run_id) as (session, run):
                steps.cancelled(session, run)
        except PutBack as why:
            with open_session() as session:
                progress.put_back(session, run_id, why)
        except (Failed, DomainError) as problem:
            with _ending(run_id) as (session, run):
                steps.failed(session, run, str(problem))
        except OperationalError:
            raise  # without a database nothing can be said; the rescue finds the run later
        except Exception as problem:
            log.exception("Run %s broke.", run_id)
            with _ending(run_id) as (session, run):
                broke = f"Something in Pairloop broke: {type(problem).__name__}: {problem}. The worker's log has more."
                steps.failed(session, run, broke)
        with open_session() as session:
            repeats.ask_again(session, run_id)


@contextmanager
def _ending(run_id: int) -> Iterator[tuple[Session, Run]]:
    with open_session() as session:
        yield session, session.get_one(Run, run_id, with_for_update=True)


@queue.task(name="train", queue=TRAIN, pass_context=True)
def train(context: JobContext, run_id: int) -> None:
    """Train in a child process: reward model, PPO or evaluation."""
    work_on(context, run_id, _train)
    with open_session() as session:
        run = session.get(Run, run_id)
    if run is not None and run.status in FINISHED:
        # The state to go on from is as large as the model; a run that has ended never goes on.
        artifacts.delete(f"{settings.artifacts}/runs/{run_id}/work/")


def _train(run_id: int, watch: Watch) -> None:
    with open_session() as session:
        spec_url = specs.write(session, session.get_one(Run, run_id))
    with RunLog(run_id) as log_file:

        def mirror(lines: Sequence[dict[str, object]]) -> None:
            log_file.report(lines)
            with open_session() as session:
                progress.record(session, run_id, lines)
            with open_session() as session:
                progress.stop_if_wrong(session, run_id)

        ending = launch.run_child(launch.training_command(spec_url), log_file.file, mirror, watch.for_child)
    _take_in(run_id, ending, log_file)


def _take_in(run_id: int, ending: Ending, log_file: RunLog) -> None:
    """Turn the end of a child into the end of its run, or put the run back."""
    if ending.stop is not None and ending.stop.why == "cancel":
        raise Cancelled
    if ending.result is not None:
        with _ending(run_id) as (session, run):
            steps.trained(session, run, ending.result)
        return
    if ending.stop is not None:
        raise PutBack("Its worker was stopped; the next one goes on from the last saved state.")
    with _ending(run_id) as (_, run):
        run.result = {**run.result, "log": log_file.tail()}
    if ending.killed_by is not None:
        raise PutBack(
            f"The training process was killed ({ending.killed_by.name}), most likely because memory ran out. "
            "It goes on from the last saved state.",
            crashed=True,
        )
    raise Failed(ending.error)


@queue.task(name="sample", queue=DEFAULT, pass_context=True)
def sample(context: JobContext, run_id: int) -> None:
    """Draw pairs through the engine, for the stock or for a trial by people."""
    work_on(context, run_id, _sample)


def _sample(run_id: int, watch: Watch) -> None:
    with open_session() as session:
        draw = blind.draw if "candidate" in session.get_one(Run, run_id).params else pairs.draw
    draw(run_id, watch.go_on)


@queue.task(name="export", queue=DEFAULT, pass_context=True)
def export(context: JobContext, run_id: int) -> None:
    """Write an export's file, or a model's package."""
    work_on(context, run_id, _export)


@queue.task(name="import", queue=DEFAULT, pass_context=True)
def bring_in(context: JobContext, run_id: int) -> None:
    """Bring a file of prompts or comparisons in, or make a candidate of a model that somebody brought."""
    work_on(context, run_id, _bring_in)


def _bring_in(run_id: int, watch: Watch) -> None:
    with open_session() as session:
        of_model = session.get_one(Run, run_id).params.get("what") == "model"
    if of_model:
        with RunLog(run_id) as log_file:
            packages.take_in(run_id, log_file.file, watch.for_child)
        return
    said = imports.bring_in(run_id, watch.go_on)
    with _ending(run_id) as (session, run):
        steps.succeeded(session, run, {}, said)
    imports.forget_file(run_id)


def _export(run_id: int, watch: Watch) -> None:
    with open_session() as session:
        of_model = "checkpoint" in session.get_one(Run, run_id).params
    if of_model:
        with RunLog(run_id) as log_file:
            packages.write(run_id, log_file.file, watch.for_child)
        return
    said = exports.write(run_id, watch.go_on)
    with _ending(run_id) as (session, run):
        steps.succeeded(session, run, {}, said)


@queue.task(name="erase", queue=DEFAULT, retry=RetryStrategy(max_attempts=20, exponential_wait=2))
def erase(user_id: int) -> None:
    """Take what a person wrote out of kept snapshots and exports; enqueued in the transaction that erased them."""
    with open_session() as session:
        erasures.erase(session, session.get_one(User, user_id))


@queue.task(name="refill", queue=DEFAULT)
def refill(project_id: int) -> None:
    """Look after a project whose policy or prompts changed: live pages hear of it, the stock is filled again."""
    with open_session() as session:
        project = session.get(Project, project_id)
        if project is not None:
            due.stock_may_be_low(session, project)
            live.announce(session, project_id)


@queue.task(name="live_head", queue=DEFAULT)
def live_head(project_id: int) -> None:
    """Fit a project's live head to its answers."""
    refit.refit(project_id)


@queue.task(name="features", queue=DEFAULT)
def features(project_id: int) -> None:
    """Have the engine read some responses that the live head does not know."""
    missing.read_some(project_id)


def work(queues: Sequence[str], concurrency: int) -> None:
    """Serve these queues until the process is asked to stop; work under way is put back into the queue."""
    # One line per request would bury everything else.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    facts.code()  # git is asked once, outside any transaction
    with open_session() as session:
        logs.forget_old(session)  # every machine has its own, and the nightly clean-up runs on one
    asyncio.run(_serve(queues, concurrency))


async def _serve(queues: Sequence[str], concurrency: int) -> None:
    async with queue.open_async():
        # A worker that just crashed is started again at once: what it left need not wait for the next minute.
        await periodic.rescue_stalled(periodic.STALLED)
        again = asyncio.create_task(_rescue_after(periodic.STALLED))
        await queue.run_worker_async(
            queues=list(queues),
            name="-".join(queues),
            concurrency=concurrency,
            # Jobs are told at once that the worker stops; each ends in order and puts its run back.
            shutdown_graceful_timeout=0.1,
            update_heartbeat_interval=HEARTBEAT,
            stalled_worker_timeout=periodic.STALLED,
            delete_jobs="successful",
        )
        again.cancel()


async def _rescue_after(seconds: float) -> None:
    """The worker that died a moment before this one started counts as dead only now."""
    await asyncio.sleep(seconds + HEARTBEAT)
    await periodic.rescue_stalled(seconds)
