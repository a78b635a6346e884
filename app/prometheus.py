"""What Prometheus reads of the whole installation, from Postgres, so that every web process says the same.

No project and no person is named: `/metrics` asks nobody who they are.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

ALIVE = "20 seconds"
"""A worker that showed a sign of life within this time counts."""


class Installation:
    """A collector over one session; with the database away it says only that."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def collect(self) -> Iterator[Metric]:
        """Ask the database. Each question reads an index or a small table."""
        up = GaugeMetricFamily("pairloop_database_up", "Whether the database answers.")
        try:
            found = [self._jobs(), self._workers(), self._leases(), self._answers(), self._runs()]
        except SQLAlchemyError:
            self.session.rollback()
            found = []
        up.add_metric([], 1.0 if found else 0.0)
        yield up
        yield from found

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.session.execute(text(sql))]

    def _jobs(self) -> Metric:
        jobs = GaugeMetricFamily("pairloop_jobs", "Jobs that wait or are worked on.", labels=["queue", "status"])
        query = """
            select queue_name, status::text, count(*) from jobs.procrastinate_jobs
            where status in ('todo', 'doing') group by 1, 2
        """
        found = {(queue, status): count for queue, status, count in self._rows(query)}
        for queue in {"train", "default", *(queue for queue, _status in found)}:
            for status, word in (("todo", "waiting"), ("doing", "running")):
                jobs.add_metric([queue, word], float(found.get((queue, status), 0)))
        return jobs

    def _workers(self) -> Metric:
        query = f"select count(*) from jobs.procrastinate_workers where last_heartbeat > now() - interval '{ALIVE}'"
        return self._one(GaugeMetricFamily("pairloop_workers", "Workers that are alive."), query)

    def _leases(self) -> Metric:
        query = "select count(*) from assignments where status = 'leased' and leased_until > now()"
        return self._one(GaugeMetricFamily("pairloop_leases", "Pairs that somebody is looking at."), query)

    def _answers(self) -> Metric:
        # The sequence never falls when an answer is undone, so rate() of it is answers per second. It is read in no
        # time, however many answers there are; an answer that was refused on its way counts too.
        query = "select coalesce(pg_sequence_last_value(pg_get_serial_sequence('answers', 'id')), 0)"
        return self._one(CounterMetricFamily("pairloop_answers", "Answers given since the beginning."), query)

    def _runs(self) -> Metric:
        runs = GaugeMetricFamily("pairloop_runs", "Runs by what became of them.", labels=["kind", "status"])
        for kind, status, count in self._rows("select kind, status, count(*) from runs group by 1, 2"):
            runs.add_metric([kind, status], float(count))
        return runs

    def _one(self, metric: GaugeMetricFamily | CounterMetricFamily, query: str) -> Metric:
        metric.add_metric([], float(self.session.execute(text(query)).scalar_one()))
        return metric
