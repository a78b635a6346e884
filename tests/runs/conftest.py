"""Who and what the tests about runs are about: Olga operates the project Garden, in which one pair is answered."""

# Read before the test database stands, so the application is imported inside the fixtures only.
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from app.models import Project, User


@pytest.fixture
def project(session: Session) -> "Project":
    from tests.people import make_project

    return make_project(session)


@pytest.fixture
def olga(session: Session) -> "User":
    from tests.people import make_person

    return make_person(session, "olga", "operator")


@pytest.fixture
def answered(session: Session, project: "Project", olga: "User") -> None:
    """One prompt and one answered pair: enough to start any training."""
    from tests.pairs import make_answer, make_comparison, make_prompt

    prompt = make_prompt(session, project)
    make_answer(session, make_comparison(session, prompt, status="complete"), olga)
