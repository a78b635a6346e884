"""How long the page of 1,000,000 prompts takes: opened, sorted, searched, turned; each through the whole application.

Every figure is the 95th percentile of so many requests of one signed-in admin, HTML and all, on a Postgres of its own.
"""

import statistics
import tempfile
import time
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.accounts import sessions
from app.accounts.access import COOKIE
from app.database import engine, migrate
from app.embedded_postgres import Server
from app.lists import cursor
from app.models import Project, User
from bench.claim import engine_of
from bench.figures import Figure

PROMPTS = 1_000_000
TIMES = 30
AT_MOST = 200  # ms
# Twelve words each of 50,000, common ones far more often, and a number of its own; a tenth held out, few withdrawn.
FILL = text("""
    insert into prompts
        (project_id, messages, hash, holdout, tags, source, priority, times_sampled, withdrawn_at)
    select :project, jsonb_build_array(jsonb_build_object('role', 'user', 'content', said)), md5(n::text),
        n % 10 = 0, array['tag' || n % 50], 'file' || n % 7, n % 5, n % 13, case when n % 1000 = 0 then now() end
    from (
        select n, 'number' || n || ' ' || string_agg('word' || (50000 * power(random(), 4))::int, ' ') as said
        from generate_series(cast(:first as int), cast(:last as int)) as n, generate_series(1, 12) group by n
    ) as written
""")
ASKED = {
    "opened": "",
    "by priority": "?sort=-priority",
    "by use": "?sort=sampled",
    "withdrawn ones": "?q=is:withdrawn",
    "a tag": "?q=tag:tag7",
    "a rare word": "?q=number777777",
    "a common word": "?q=word1",
    "two words and a tag": "?q=word2 word3 tag:tag9",
    "no such word": "?q=nothing",
}


def measure() -> list[Figure]:
    """The 95th percentile of each, in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="pairloop-bench-") as empty:
        Path(empty).chmod(0o755)  # as root, Postgres runs as another user who has to get there
        server = Server(home=Path(empty) / "postgres")
        server.start()
        try:
            return _measured(server)
        finally:
            engine().dispose()
            server.stop()


def _measured(server: Server) -> list[Figure]:
    database = engine_of(server.url())
    migrate()
    with Session(database) as session:
        project = Project(slug="bench", name="Bench", base_model="tiny")
        person = User(email="bob@example.org", roles=["admin"])
        session.add_all([project, person])
        session.flush()
        step = PROMPTS // 10
        for first in range(1, PROMPTS, step):
            session.execute(FILL, {"project": project.id, "first": first, "last": first + step - 1})
        token = sessions.start(session, person, "bench")
        session.commit()
    with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))

    from app.main import app

    client = TestClient(app, cookies={COOKIE: token})
    middle = PROMPTS // 2
    figures = [_figure(name, client, query) for name, query in ASKED.items()]
    return [*figures, _figure("a page in the middle", client, f"?cursor={cursor('-added', middle, middle)}")]


def _figure(name: str, client: TestClient, query: str) -> Figure:
    took = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        answer = client.get(f"/projects/bench/prompts{query}")
        took.append(1000 * (time.perf_counter() - begun))
        assert answer.status_code == 200, answer.text
    return Figure(f"{PROMPTS:,} prompts, {name}, p95", statistics.quantiles(took, n=20)[18], "ms", at_most=AT_MOST)
