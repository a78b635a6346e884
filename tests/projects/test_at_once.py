"""What two people do to projects in the same moment."""

from collections.abc import Callable

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import open_session
from app.models import Project
from app.projects import guidelines, projects
from app.projects.first import make_first_project
from app.projects.schemas import NewProject
from tests.at_once import while_open

pytestmark = pytest.mark.usefixtures("committed")


def slugs() -> list[str]:
    with open_session() as session:
        return list(session.scalars(select(Project.slug).order_by(Project.slug)))


def test_two_projects_of_one_name_get_two_addresses() -> None:
    def make(own: Session) -> None:
        projects.create(own, None, NewProject(name="Garden"))

    while_open(make, make)
    assert slugs() == ["garden", "garden-2"]


def test_two_new_versions_of_the_guidelines_follow_each_other() -> None:
    with open_session() as session:
        project = projects.create(session, None, NewProject(name="Garden", guidelines="First."))

    def write(text: str) -> Callable[[Session], object]:
        return lambda own: guidelines.write(own, own.get_one(Project, project.id), text, None)

    while_open(write("Second."), write("Third."))
    with open_session() as session:
        found = guidelines.versions(session, session.get_one(Project, project.id))
        assert [(version.version, version.text) for version, _ in found] == [
            (3, "Third."),
            (2, "Second."),
            (1, "First."),
        ]


def test_two_starters_on_one_database_make_one_first_project() -> None:
    while_open(make_first_project, make_first_project)
    assert slugs() == ["first-project"]
