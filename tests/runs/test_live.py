"""Live pages over a real server: parts come when something changed, and no stream holds a database connection."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from app.database import engine, open_session
from app.main import create_app
from app.models import Run, User
from app.runs import live
from tests.people import bearer, make_person, make_project


@pytest.fixture
def run(committed: None) -> Run:
    with open_session() as session:
        run = Run(project_id=make_project(session).id, kind="ppo", status="running", message="Update 1.")
        session.add(run)
    return run


@pytest.fixture
def headers(run: Run) -> dict[str, str]:
    with open_session() as session:
        return bearer(session, make_person(session, "olga", "operator"))


@pytest.fixture
def server(run: Run) -> Iterator[str]:
    """The web application on a port of its own, with its LISTEN connection."""
    web = uvicorn.Server(uvicorn.Config(create_app(), port=0, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=web.run, daemon=True)
    thread.start()
    while not web.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{web.servers[0].sockets[0].getsockname()[1]}"
    web.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@contextmanager
def stream(url: str, headers: dict[str, str]) -> Iterator[Iterator[tuple[str, str]]]:
    """The events of a live page, as (name, data)."""

    def events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
        name, data = "", list[str]()
        for line in lines:
            if line.startswith("event:"):
                name = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                data.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and name:
                yield name, "\n".join(data)
                name, data = "", []

    with httpx.Client(timeout=20) as client, client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer.iter_lines())


def change(run: Run, **values: object) -> None:
    """What a worker does: change the run, announce it, commit."""
    with open_session() as session:
        row = session.get_one(Run, run.id)
        for name, value in values.items():
            setattr(row, name, value)
        live.announce(session, row.project_id)


def test_a_runs_page_follows_it_to_its_end(server: str, run: Run, headers: dict[str, str]) -> None:
    with stream(f"{server}/projects/garden/runs/{run.id}/live", headers) as events:
        assert next(events)[0] == "head"
        name, html = next(events)
        assert name == "body"
        assert "Update 1." in html
        begun = time.monotonic()
        change(run, message="Update 2.")
        name, html = next(events)
        assert (name, "Update 2." in html) == ("body", True), "the head did not change, so it is not sent"
        assert time.monotonic() - begun < 3
        change(run, status="succeeded", message="Done.")
        assert [name for name, _ in events] == ["head", "body", "end"]


def test_the_list_follows_every_run(server: str, run: Run, headers: dict[str, str]) -> None:
    with stream(f"{server}/projects/garden/runs/live", headers) as events:
        assert [next(events)[0], next(events)[0]] == ["loop", "list"]
        change(run, message="Update 7.")
        assert "Update 7." in next(events)[1]


def test_open_streams_hold_no_database_connection(server: str, run: Run, headers: dict[str, str]) -> None:
    pool = engine().pool
    with (
        stream(f"{server}/projects/garden/runs/live", headers) as one,
        stream(f"{server}/projects/garden/runs/{run.id}/live", headers) as two,
    ):
        for events in (one, two):
            next(events), next(events)
        time.sleep(0.3)
        assert pool.checkedout() == 0  # type: ignore[attr-defined]


def test_who_is_deactivated_sees_nothing_more(server: str, run: Run, headers: dict[str, str]) -> None:
    with stream(f"{server}/projects/garden/runs/live", headers) as events:
        next(events), next(events)
        with open_session() as session:
            session.query(User).update({User.roles: []})
        change(run, message="A secret.")
        assert list(events) == [("end", "")]
