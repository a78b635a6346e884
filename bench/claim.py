"""How long a claim takes with 1,000 and with 1,000,000 waiting comparisons, side by side in two databases.

Each claim is followed by an answer that is not measured. `alone`: one annotator, who where two answers are asked has
given the first one to half of all comparisons, so that everything half-done is closed to them. `of 32`: all hold a
lease, and one after the other lets it go and claims anew.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from app.accounts.access import Access, find_project
from app.database import engine, migrate
from app.embedded_postgres import Server
from app.labeling import answers, leases
from app.labeling.answers import Spoken
from app.models import Project, Prompt, Response, User
from app.settings import settings
from bench.figures import Figure

SIZES = (1_000, 1_000_000)
CROWD = 32
TIMES = 300
FILL = text("""
    insert into comparisons (project_id, prompt_id, response_a_id, response_b_id, source, counted)
    select :project, :prompt, :a, :b, 'import', case when n <= :half_done then 1 else 0 end
    from generate_series(1, :size) as n
""")
ANSWER_HALF = text("""
    insert into answers (project_id, comparison_id, user_id, verdict, source)
    select project_id, id, :person, 'tie', 'api' from comparisons where project_id = :project and counted = 1
""")


def measure() -> list[Figure]:
    """Median and 95th percentile of a claim with 1,000,000 waiting, and how many times those with 1,000 that is."""
    with tempfile.TemporaryDirectory(prefix="pairloop-bench-") as empty:
        Path(empty).chmod(0o755)  # as root, Postgres runs as another user who has to get there
        server = Server(home=Path(empty) / "postgres")
        server.start()
        try:
            return [figure for overlap in (1, 2) for figure in _measured(server, overlap)]
        finally:
            server.stop()


def _measured(server: Server, overlap: int) -> Iterator[Figure]:
    with _filled(server, overlap, SIZES[0]) as few, _filled(server, overlap, SIZES[1]) as many:
        for people, who in ((["alone"], "alone"), ([_one(n) for n in range(CROWD)], f"of {CROWD}")):
            seconds: dict[Engine, list[float]] = {few: [], many: []}
            for turn in range(TIMES):
                # By turns, so that whatever else the machine does weighs on both.
                for database, took in seconds.items():
                    took.append(_claim(database, people[turn % len(people)]))
            before, after = [statistics.quantiles(took, n=20) for took in seconds.values()]
            for name, place in (("p50", 9), ("p95", 18)):
                claim = f"claim {name}, overlap {overlap}, {who}"
                yield Figure(f"{claim}, {SIZES[1]:,} waiting", 1000 * after[place], "ms")
                yield Figure(f"{claim}, beside {SIZES[0]:,}", after[place] / before[place], "x", at_most=1.3)


@contextmanager
def _filled(server: Server, overlap: int, size: int) -> Iterator[Engine]:
    """A database of its own with so many comparisons, and the crowd with a lease each."""
    name = f"claim_{overlap}_{size}"
    with engine_of(server.url()).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"create database {name}"))
    database = engine_of(server.url(name))
    migrate()
    with Session(database) as session:
        project = Project(slug="bench", name="Bench", base_model="tiny", labels_per_comparison=overlap)
        people = [User(email=f"{one}@example.org", roles=["annotator"]) for one in ("alone", *map(_one, range(CROWD)))]
        session.add_all([project, *people])
        session.flush()
        prompt = Prompt(project_id=project.id, messages=[], hash="0", holdout=False)
        session.add(prompt)
        session.flush()
        a, b = (Response(prompt_id=prompt.id, text=side, source="import") for side in "ab")
        session.add_all([a, b])
        session.flush()
        told = {"project": project.id, "prompt": prompt.id, "a": a.id, "b": b.id, "size": size}
        session.execute(FILL, {**told, "half_done": size // 2 if overlap == 2 else 0})
        session.execute(ANSWER_HALF, {"project": project.id, "person": people[0].id})
        session.commit()
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    yield database
    database.dispose()


def engine_of(url: str) -> Engine:
    """The product's own connection pool, to this database."""
    settings.database_url = url
    engine.cache_clear()
    return engine()


def _one(number: int) -> str:
    return f"one{number}"


def _claim(database: Engine, person: str) -> float:
    """How long this person's next claim takes; what they hold is answered before, as the label page does it."""
    with Session(database, expire_on_commit=False) as session:
        access = _access(session, person)
        held = leases.claim(session, access)
        if held is not None:
            answers.record(session, access, held.id, Spoken("tie"))
        session.commit()
    with Session(database, expire_on_commit=False) as session:
        access = _access(session, person)
        begun = time.perf_counter()
        claimed = leases.claim(session, access)
        took = time.perf_counter() - begun
        assert claimed is not None
        session.commit()
    return took


def _access(session: Session, person: str) -> Access:
    user = session.scalars(select(User).where(User.email == f"{person}@example.org")).one()
    return find_project(session, user, "bench", "annotator")
