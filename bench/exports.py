"""How fast 100,000 and 1,000,000 answers become a snapshot and a file, beside Postgres's own COPY of the same rows.

An export is timed whole: the snapshot, what it holds written down, and the file. The rows are made in SQL: two answers
to each pair, responses of 200 characters with 50 token ids each, one prompt to twenty answers. COPY runs with the same
plan as the snapshot's query, which is the quicker one. The second size takes minutes to be made.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from app.database import engine, migrate
from app.datasets import answer_table, copied, exports, snapshots
from app.datasets.filters import Filters
from app.embedded_postgres import Server
from app.models import Project, Snapshot, User
from app.settings import settings
from bench.figures import Figure

SIZES = (100_000, 1_000_000)
FORMATS = ("jsonl", "parquet")
FILL = (
    """insert into prompts (id, project_id, messages, hash, holdout)
    select n, :project, jsonb_build_array(jsonb_build_object('role', 'user', 'content',
        'Question ' || n || ': ' || repeat('why does the tide come in twice? ', 3))), md5(n::text), n % 10 = 0
    from generate_series(1, :size / 20) as n""",
    """insert into responses (id, prompt_id, text, source, base_model, prompt_token_ids, token_ids, finish_reason)
    select n, 1 + (n - 1) / 20, 'Response ' || n || E' says:\\n"' || repeat('the moon pulls at the water, ', 6) || '"',
        'sample', 'tiny', (select array_agg(n % 900 + i) from generate_series(1, 30) as i),
        (select array_agg((n * i) % 49000) from generate_series(1, 50) as i), 'stop'
    from generate_series(1, :size) as n""",
    """insert into comparisons (id, project_id, prompt_id, response_a_id, response_b_id, source)
    select n, :project, 1 + (n - 1) / 10, 2 * n - 1, 2 * n, 'sample' from generate_series(1, :size / 2) as n""",
    """insert into answers (project_id, comparison_id, user_id, verdict, preferred, strength, source, seconds_client,
        rationale, guideline_version)
    select :project, (n + 1) / 2, 1 + n % 2, case when n % 10 = 0 then 'tie' else 'preferred' end,
        case when n % 10 = 0 then null when n % 3 = 0 then 'a' else 'b' end,
        case when n % 10 = 0 then null else 1 + n % 3 end, 'page', n % 60,
        case when n % 20 = 0 then 'It says why, and briefly.' else '' end, 1
    from generate_series(1, :size) as n""",
)


def measure() -> list[Figure]:
    """Rows per second, times COPY's time, and peak memory of the process that writes."""
    with tempfile.TemporaryDirectory(prefix="pairloop-bench-") as empty:
        Path(empty).chmod(0o755)  # as root, Postgres runs as another user who has to get there
        server = Server(home=Path(empty) / "postgres")
        server.start()
        try:
            return list(_measured(server, Path(empty)))
        finally:
            server.stop()


def _measured(server: Server, place: Path) -> Iterator[Figure]:
    peaks: dict[tuple[str, int], float] = {}
    for size in SIZES:
        _fill(server, size)
        floor = _copy(server.url(f"exports_{size}"))
        yield Figure(f"COPY … TO STDOUT of {size:,} answers", size / floor, "rows/s")
        for form in FORMATS:
            # A process of its own, so that the peak is this export's.
            told = [sys.executable, "-m", "bench.exports", server.url(f"exports_{size}"), str(place), form]
            seen = json.loads(subprocess.run(told, check=True, capture_output=True, text=True).stdout)
            whole, peaks[form, size] = seen["snapshot"] + seen["file"], seen["peak_mb"]
            claim = f"{form} of {size:,} answers"
            yield Figure(f"{claim}, snapshot and file", size / whole, "rows/s", at_least=40_000)
            yield Figure(f"{claim}, the file alone", size / seen["file"], "rows/s")
            yield Figure(f"{claim}, beside COPY", whole / floor, "x", at_most=3)
            yield Figure(f"{claim}, peak memory", peaks[form, size], "MB")
    for form in FORMATS:
        ratio = peaks[form, SIZES[1]] / peaks[form, SIZES[0]]
        yield Figure(f"{form}, peak memory of {SIZES[1]:,} beside {SIZES[0]:,}", ratio, "x", at_most=1.2)


def _fill(server: Server, size: int) -> None:
    with psycopg.connect(_plain(server.url()), autocommit=True) as connection:
        connection.execute(f"create database exports_{size}")
    settings.database_url = server.url(f"exports_{size}")
    engine.cache_clear()
    migrate()
    with Session(engine()) as session:
        project = Project(slug="bench", name="Bench", base_model="tiny")
        session.add_all([project, *(User(email=f"{n}@example.org", roles=["annotator"]) for n in range(2))])
        session.flush()
        for statement in FILL:
            session.execute(text(statement), {"project": project.id, "size": size})
        session.commit()
    engine().dispose()
    with psycopg.connect(_plain(settings.database_url), autocommit=True) as connection:
        connection.execute("vacuum analyze")


def _copy(url: str) -> float:
    """Seconds that COPY takes for the very rows of a snapshot, thrown away as they come."""
    settings.database_url = url
    engine.cache_clear()
    with Session(engine()) as session:
        project = session.query(Project).one()
        query = answer_table.statement(session, project, Filters()).compile(
            engine(), compile_kwargs={"literal_binds": True}
        )
        for name in copied.PLANS:
            session.execute(text(f"set local {name} = off"))
        connection: Any = session.connection().connection.driver_connection
        begun = time.perf_counter()
        with connection.cursor().copy(f"copy ({query}) to stdout") as copy:
            while copy.read():
                pass
        return time.perf_counter() - begun


def write_one(url: str, place: str, form: str) -> dict[str, Any]:
    """Take a snapshot that is not there yet, write a file of it, and say how long both took."""
    settings.database_url, settings.artifacts_url = url, f"file://{place}/store"
    with Session(engine()) as session:
        session.execute(delete(Snapshot))
        session.commit()
        project = session.query(Project).one()
        answer_table.preview(session, project, Filters(), 1)  # a worker has loaded what it needs
        begun = time.perf_counter()
        snapshot = snapshots.take(session, project, Filters())
        session.commit()
        taken = time.perf_counter()
        path = Path(place) / f"file.{form}"
        exports.write_file(snapshot, "preference", form, path, lambda phase, done, total: None)
        written = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"snapshot": taken - begun, "file": written - taken, "peak_mb": peak}


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")


if __name__ == "__main__":
    print(json.dumps(write_one(*sys.argv[1:])))
