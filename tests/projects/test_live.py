"""A project's page follows what happens in it, for everybody who may see it and for nobody else."""

import pytest

from app.database import open_session
from app.models import Project, Run
from app.runs import live
from tests.live_server import serving, stream
from tests.people import bearer, make_person, make_project


@pytest.fixture
def mallory(committed: None) -> dict[str, str]:
    with open_session() as session:
        make_project(session)
        return bearer(session, make_person(session, "mallory"))


def test_it_follows_a_run_and_ends_when_the_door_is_closed(mallory: dict[str, str]) -> None:
    with serving() as address, stream(f"{address}/projects/garden/live", mallory) as events:
        name, html = next(events)
        assert name == "standing"
        assert "There are no prompts yet." in html
        with open_session() as session:
            project = session.query(Project).one()
            session.add(Run(project_id=project.id, kind="sample", status="running", message="For operators alone."))
            live.announce(session, project.id)
        html = next(events)[1]
        assert "The model is writing the next pairs" in html
        assert "For operators alone." not in html
        with open_session() as session:
            session.query(Project).update({Project.restricted: True})
            live.announce(session, project.id)
        assert list(events) == [("end", "")]
