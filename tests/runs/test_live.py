"""Live pages over a real server: parts come when something changed, and no stream holds a database connection."""

import time
from collections.abc import Iterator

import pytest

from app.database import engine, open_session
from app.models import Run, User
from app.runs import live
from tests.live_server import serving, stream
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
    with serving() as address:
        yield address


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
