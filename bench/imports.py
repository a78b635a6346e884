"""How many prompts and comparisons a second come in from a file, and that memory does not grow with the file.

Each import is the worker's own code in a process of its own, from a file in the store to committed rows on a Postgres
with fsync. The peer's figure (Label Studio 1.23: 2,400 tasks/s, all in one request) is from its own measurement on an
idle machine, so processor seconds stand beside the rate: they do not depend on what else runs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.accounts.access import Access
from app.database import engine, migrate, open_session
from app.embedded_postgres import Server
from app.models import Project, Run, User
from app.prompts import imports, uploads
from app.settings import settings
from bench.figures import Figure

PEER = 2_400  # tasks/s
ROWS = 50_000
SMALL, LARGE = 50_000_000, 500_000_000  # bytes
WORDS = "Write a short letter to a friend who has moved to the sea, and tell what the garden did in the month of May"
CHILD = """
import resource, sys, time
from app.database import open_session
from app.models import Run
from app.prompts import imports
with open_session() as session:  # a worker knows its tables and is connected
    session.get_one(Run, int(sys.argv[1]))
begun, cpu = time.perf_counter(), time.process_time()
imports.bring_in(int(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.perf_counter() - begun, time.process_time() - cpu, peak / 1024)
"""


def measure() -> list[Figure]:
    """Rows a second by format, and the peak memory of a 50 MB and a 500 MB file."""
    with tempfile.TemporaryDirectory(prefix="pairloop-bench-") as empty:
        home = Path(empty)
        home.chmod(0o755)  # as root, Postgres runs as another user who has to get there
        server = Server(home=home / "postgres")
        server.start()
        try:
            settings.database_url, settings.data_dir = server.url(), home / "data"
            engine.cache_clear()
            migrate()
            # Memory first: a child's peak is never told as less than what this process holds when it starts it.
            return [*_memory(home), *_rates(home)]
        finally:
            engine().dispose()
            server.stop()


def _rates(home: Path) -> Iterator[Figure]:
    for name, file in _files(home):
        seconds, cpu, _peak = _brought(file)
        unit, promised = ("prompts/s", 8 * PEER) if name != "comparisons" else ("comparisons/s", None)
        yield Figure(f"import, {name}, {ROWS:,} rows", ROWS / seconds, unit, at_least=promised)
        yield Figure(f"… processor time of the worker, {name}", 1e6 * cpu / ROWS, "µs a row")


def _files(home: Path) -> Iterator[tuple[str, Path]]:
    """The same prompts three ways, other ones each time so that none is known already, and comparisons."""
    lines = home / "prompts.jsonl"
    lines.write_text("".join(json.dumps({"prompt": f"A{n}: {WORDS}", "tags": ["letter"]}) + "\n" for n in range(ROWS)))
    yield "JSONL", lines
    table = home / "prompts.csv"
    table.write_text("prompt,tags\n" + "".join(f'"B{n}: {WORDS}",letter\n' for n in range(ROWS)))
    yield "CSV", table
    columns = home / "prompts.parquet"
    pq.write_table(pa.table({"prompt": [f"C{n}: {WORDS}" for n in range(ROWS)], "tags": [["letter"]] * ROWS}), columns)
    yield "Parquet", columns
    pairs = home / "pairs.jsonl"
    told = (
        {"prompt": f"D{n}: {WORDS}", "chosen": f"Dear friend, {n}. {WORDS}", "rejected": "No."} for n in range(ROWS)
    )
    pairs.write_text("".join(json.dumps(one) + "\n" for one in told))
    yield "comparisons", pairs


def _memory(home: Path) -> Iterator[Figure]:
    """The same 2,000 prompts again and again: the whole file is read and checked, and the database stays small."""
    file = home / "long.jsonl"
    block = "".join(json.dumps({"prompt": f"E{n}: {WORDS * 10}"}) + "\n" for n in range(2_000))
    peaks = []
    for size in (SMALL, LARGE):
        with file.open("w") as out:
            for _ in range(round(size / len(block))):
                out.write(block)
        peaks.append(_brought(file)[2])
    yield Figure("import of 500 MB, peak of the worker", peaks[1], "MB")
    yield Figure("… beside 50 MB", peaks[1] / peaks[0], "x", at_most=1.1)


def _brought(file: Path) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak MB of one import in a new process; the project is new, too."""
    with open_session() as session:
        project = Project(slug=f"bench-{time.time_ns()}", name="Bench", base_model="tiny", sampling={"stock": 0})
        person = User(email=f"{time.time_ns()}@example.org", roles=["admin"])
        session.add_all([project, person])
        session.flush()
        with file.open("rb") as content:
            upload = uploads.keep(session, Access(person, project), content, file.name)
        run_id = imports.request(session, Access(person, project), upload).id
    environment = {**os.environ, "PAIRLOOP_DATABASE_URL": settings.database_url}
    environment["PAIRLOOP_DATA_DIR"] = str(settings.data_dir)
    command = [sys.executable, "-c", CHILD, str(run_id)]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    with open_session() as session:
        assert session.get_one(Run, run_id).result["refused"] == 0
    seconds, cpu, peak = (float(one) for one in said.split())
    return seconds, cpu, peak
