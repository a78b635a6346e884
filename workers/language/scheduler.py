"""One thread that decodes for everybody: requests join the batch of their adapter and leave it row by row."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from workers.language.cache import bytes_per_token
from workers.language.decode import Batch, Event, Request
from workers.language.errors import ContextExceeded
from workers.language.model import LanguageModel

T = TypeVar("T")
log = logging.getLogger(__name__)

ROWS = 32
# Somebody who watches the answer appear does not wait until one of 32 others has finished.
ROWS_FOR_STREAMS = 8
CACHE_BYTES = 256 * 2**20


class EngineFailed(Exception):
    """The engine could not go on with this request; try it again. The engine's log says what happened."""


@dataclass(eq=False)
class Job:
    """Responses that one HTTP request asks for. Events carry the position in `requests` as their key.

    `sink` is called from the decode thread with the events of a step, or once with an exception, the last call.
    """

    requests: Sequence[Request]
    adapter: str | None
    stream: bool
    sink: Callable[[list[Event] | Exception], None]
    waiting: list[int] = field(init=False)  # positions that have not joined a batch yet
    keys: dict[int, int] = field(init=False, default_factory=dict)  # number in the batch -> position
    unfinished: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = list(range(len(self.requests)))
        self.unfinished = set(self.waiting)


class Scheduler(threading.Thread):
    """Advances one batch per adapter in turn; admits streams first, then the requests with the fewest rows."""

    def __init__(self, lm: LanguageModel, count_tokens: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(name="decode", daemon=True)
        self._lm = lm
        self._count_tokens = count_tokens
        self._token_bytes = bytes_per_token(lm.model.config, lm.dtype)
        self._changed = threading.Condition()
        self._jobs: list[Job] = []
        self._dropped: list[tuple[Job, int]] = []
        self._errands: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._batches: dict[str | None, Batch] = {}
        self._closed = False

    @property
    def active_rows(self) -> int:
        """Responses being sampled or waiting for it."""
        with self._changed:
            return sum(len(job.unfinished) for job in self._jobs)

    def submit(self, job: Job) -> None:
        """Take a job in. Its sink gets an exception if it cannot be done."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def between_steps(self, work: Callable[[], T]) -> Future[T]:
        """Do something else with the model in this thread, one such thing between two steps; cancelled on close."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                future.cancel()
            else:
                self._errands.append((future, work))
            self._changed.notify()
        return future

    def drop(self, job: Job, position: int) -> None:
        """Sample no more tokens for this response; the sink hears nothing more of it after a step or two."""
        with self._changed:
            self._dropped.append((job, position))
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Drop whatever of a job is unfinished."""
        for position in list(job.unfinished):
            self.drop(job, position)

    def close(self) -> None:
        """End the thread after the step it is at."""
        with self._changed:
            self._closed = True
            for future, _ in self._errands:
                future.cancel()
            self._changed.notify()

    def run(self) -> None:
        """Decode until closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._dropped or self._errands or self._closed)
                if self._closed:
                    return
                dropped, self._dropped = self._dropped, []
                self._forget(dropped)
                # One at a time, so that streams go on between several.
                errand = self._errands.pop(0) if self._errands else None
            if errand is not None:
                _do(*errand)
            for adapter, batch in list(self._batches.items()):
                self._guarded(adapter, batch)

    def _guarded(self, adapter: str | None, batch: Batch) -> None:
        """Advance one batch; whatever goes wrong ends its requests and nothing else."""
        try:
            # A batch whose rows were all dropped may have lost its adapter already.
            events = batch.step() if batch.size else []
        except Exception:
            log.exception("A batch failed; its requests are answered with an error.")
            with self._changed:
                del self._batches[adapter]
                for job in [job for job in self._jobs if job.adapter == adapter and job.keys]:
                    self._fail(job, EngineFailed(EngineFailed.__doc__))
            return
        self._count_tokens(len(events))
        with self._changed:
            self._hand_out(adapter, events)
            if not batch.size:
                del self._batches[adapter]

    def _hand_out(self, adapter: str | None, events: list[Event]) -> None:
        for job in [job for job in self._jobs if job.adapter == adapter]:
            own = [replace(event, key=job.keys[event.key]) for event in events if event.key in job.keys]
            own = [event for event in own if event.key in job.unfinished]
            job.unfinished -= {event.key for event in own if event.finish}
            if not job.unfinished:
                self._jobs.remove(job)
            if own:
                _tell(job, own)

    def _forget(self, dropped: list[tuple[Job, int]]) -> None:
        for job, position in dropped:
            job.unfinished.discard(position)
            if position in job.waiting:
                job.waiting.remove(position)
            for key, place in job.keys.items():
                if place == position and job.adapter in self._batches:
                    self._batches[job.adapter].drop(key)
        self._jobs = [job for job in self._jobs if job.unfinished]
        self._admit()

    def _admit(self) -> None:
        """Let waiting rows join as far as rows and memory allow; streams first, then small jobs, then the oldest."""
        for job in sorted(self._jobs, key=lambda job: (not job.stream, len(job.requests))):
            while job.waiting and self._has_room(job, job.requests[job.waiting[0]]):
                position = job.waiting.pop(0)
                batch = self._batches.setdefault(job.adapter, Batch(self._lm, job.adapter))
                try:
                    (key,) = batch.add([job.requests[position]], first=job.stream)
                except ContextExceeded as error:
                    self._fail(job, error)
                    break
                job.keys[key] = position

    def _has_room(self, job: Job, request: Request) -> bool:
        active = [one.requests[place] for one in self._jobs for place in one.unfinished - set(one.waiting)]
        if not active:
            return True
        if len(active) >= ROWS + (ROWS_FOR_STREAMS if job.stream else 0):
            return False
        columns = sum(len(one.prompt) + one.settings.max_tokens for one in (*active, request))
        return job.stream or columns * self._token_bytes <= CACHE_BYTES

    def _fail(self, job: Job, error: Exception) -> None:
        self._jobs.remove(job)
        for key in job.keys if job.adapter in self._batches else ():
            self._batches[job.adapter].drop(key)
        _tell(job, error)


def _do(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)


def _tell(job: Job, news: list[Event] | Exception) -> None:
    try:
        job.sink(news)
    except Exception:
        # Its connection may be gone; that must not stop the thread that decodes for everybody.
        log.exception("A request did not take its tokens.")
