"""How long the live head takes after an answer: 2,000 answers, features of SmolLM2's size, a database of its own.

The features are random numbers, so the accuracy means nothing; the time does not depend on it.
"""

import workers  # noqa: F401  # isort: skip - before numpy, as in a worker: it says how many threads numpy has

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.database import engine, migrate, open_session
from app.embedded_postgres import Server
from app.models import Answer, Comparison, LiveHead, Project, Prompt, Response, User
from app.settings import settings
from bench.figures import Figure
from workers.live_head import refit

ANSWERS, PROMPTS, FEATURES = 2000, 300, 4 * 576
NAME = "smollm2-135m-instruct layer 15 mean+sum+last+words"
TIMES = 9


def measure() -> list[Figure]:
    """The first fit, and the fit after one more answer: reading, fitting, storing (median of nine)."""
    with tempfile.TemporaryDirectory(prefix="pairloop-bench-") as empty:
        Path(empty).chmod(0o755)  # as root, Postgres runs as another user who has to get there
        server = Server(home=Path(empty) / "postgres")
        server.start()
        try:
            settings.database_url = server.url()
            engine.cache_clear()
            migrate()
            return _measured()
        finally:
            engine().dispose()
            server.stop()


def _measured() -> list[Figure]:
    with open_session() as session:
        project = Project(slug="bench", name="Bench", base_model="smollm2-135m-instruct")
        person = User(email="bench@example.org", kind="simulated")
        session.add_all([project, person])
        session.flush()
        _answer(session, project, person, ANSWERS)
    first = _seconds(project.id)
    took = []
    for _ in range(TIMES):
        with open_session() as session:
            _answer(session, project, person, 1)
        took.append(_seconds(project.id))
    with open_session() as session:
        assert session.get_one(LiveHead, project.id).answers == ANSWERS + TIMES
    return [
        Figure(f"live head, first fit to {ANSWERS:,} answers", first, "s"),
        Figure(f"live head after one more answer, {ANSWERS:,} known", statistics.median(took), "s", at_most=0.2),
    ]


def _seconds(project_id: int) -> float:
    begun = time.perf_counter()
    refit.refit(project_id)
    return time.perf_counter() - begun


def _answer(session: Session, project: Project, person: User, count: int) -> None:
    """Add so many answered pairs, each response with features, about PROMPTS prompts in turn."""
    generator = np.random.default_rng(session.scalar(select(Answer.id).order_by(Answer.id.desc()).limit(1)) or 0)
    asked = (
        session.scalars(select(Prompt.id).order_by(Prompt.id)).all()
        or session.scalars(
            insert(Prompt).returning(Prompt.id),
            [
                {"project_id": project.id, "messages": [], "hash": str(n), "holdout": n % 10 == 0}
                for n in range(PROMPTS)
            ],
        ).all()
    )
    for number in range(count):
        prompt = asked[number % len(asked)]
        features = generator.normal(size=(2, FEATURES)).astype("<f2")
        a, b = (
            Response(prompt_id=prompt, text=side, source="sample", features=one.tobytes(), features_from=NAME)
            for side, one in zip("ab", features, strict=True)
        )
        pair = Comparison(
            project_id=project.id, prompt_id=prompt, response_a=a, response_b=b, source="sample", status="complete"
        )
        preferred = "a" if features[0, 0] > features[1, 0] else "b"
        said = {"verdict": "preferred", "preferred": preferred, "strength": 1, "source": "api", "simulated": True}
        session.add(Answer(project_id=project.id, comparison=pair, user_id=person.id, **said))
    session.flush()
