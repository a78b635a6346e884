"""Thirty-two clients label over HTTP while the server is killed again and again: no answer is lost, none is twice."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import func, select

from app.database import open_session
from app.models import Answer, Assignment, Comparison
from tests.labeling.pairs import make_comparisons
from tests.live_server import Server
from tests.people import bearer, make_person, make_project

CLIENTS, COMPARISONS, OVERLAP, KILLS = 32, 40, 3, 2
PATIENCE = 300.0
"""Seconds within which all of it must be done, restarts included."""


@pytest.fixture
def server(committed: None) -> Iterator[Server]:
    server = Server()
    yield server
    server.kill()


class Crowd:
    """Clients that ask again and again until they are answered, and remember every answer that was confirmed."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.until = time.monotonic() + PATIENCE
        self.confirmed: dict[tuple[str, str], str] = {}
        """Who answered which comparison, and the id of the answer."""
        self.interrupted = 0
        self.lock = threading.Lock()

    def post(self, path: str, headers: dict[str, str], body: dict[str, object] | None = None) -> httpx.Response:
        while time.monotonic() < self.until:
            try:
                return self.http.post(path, headers=headers, json=body)
            except httpx.TransportError:
                with self.lock:
                    self.interrupted += 1
                time.sleep(0.1)
        raise AssertionError(f"nobody answered {path}")

    def label_until_nothing_is_left(self, headers: dict[str, str]) -> None:
        while (claimed := self.post("/projects/garden/assignments", headers)).status_code != 204:
            assert claimed.status_code == 200, claimed.text
            held = claimed.json()
            # Each person prefers the same response, wherever it stands.
            said = {
                "verdict": "preferred",
                "preferred": min(held["responses"], key=lambda each: each["text"])["id"],
                "strength": 2,
            }
            sent = self.post(f"/assignments/{held['assignment']}/answer", headers, said)
            assert sent.status_code == 200, sent.text
            stored = sent.json()
            with self.lock:
                who = (headers["Authorization"], stored["assignment"])
                assert who not in self.confirmed, "confirmed twice"
                self.confirmed[who] = stored["id"]


def test_no_answer_is_lost_and_none_is_twice_however_the_server_dies(server: Server) -> None:
    with open_session() as session:
        project = make_project(session, labels_per_comparison=OVERLAP)
        project.sampling = {"stock": 0}
        make_comparisons(session, project, COMPARISONS)
        people = [bearer(session, make_person(session, f"annotator{n}", "annotator")) for n in range(CLIENTS)]
    limits = httpx.Limits(max_connections=CLIENTS)
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=PATIENCE, limits=limits) as http:
        crowd = Crowd(http)
        _label_and_kill(server, crowd, people)
    assert crowd.interrupted >= KILLS
    with open_session() as session:
        stored = session.scalars(select(Answer)).all()
        each = dict.fromkeys(session.scalars(select(Comparison.id)), OVERLAP)
        assert Counter(answer.comparison_id for answer in stored) == each
        ends = session.execute(select(Comparison.status, Comparison.counted).distinct()).all()
        assert [tuple(end) for end in ends] == [("complete", OVERLAP)]
        assert {str(answer.id) for answer in stored} == set(crowd.confirmed.values()), "kept is what was confirmed"
        assert {answer.preferred for answer in stored} == {"b"}, "the elm, which comes first by the letters"
        assert session.scalar(select(func.count()).where(Assignment.status == "leased")) == 0


def _label_and_kill(server: Server, crowd: Crowd, people: list[dict[str, str]]) -> None:
    moments = sorted(random.sample(range(5, COMPARISONS * OVERLAP - CLIENTS), KILLS))
    with ThreadPoolExecutor(CLIENTS) as threads:
        working = [threads.submit(crowd.label_until_nothing_is_left, one) for one in people]
        for moment in moments:
            # Somewhere in the middle of what the others ask for at that moment.
            while len(crowd.confirmed) < moment and time.monotonic() < crowd.until:
                time.sleep(0.001)
            server.kill()
            server.process = server.start()
        for one in working:
            one.result()
