"""The fixtures of these tests; the application is imported inside them, once its database stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from app.models import Project, User


@pytest.fixture
def project(session: Session) -> Project:
    """Every comparison is answered by two."""
    from tests.people import make_project

    return make_project(session, labels_per_comparison=2)


@pytest.fixture
def alice(session: Session) -> User:
    from tests.people import make_person

    return make_person(session, "alice", "annotator")


@pytest.fixture
def carol(session: Session) -> User:
    from tests.people import make_person

    return make_person(session, "carol", "annotator")


@pytest.fixture
def bob(session: Session) -> User:
    from tests.people import make_person

    return make_person(session, "bob", "admin")


@pytest.fixture
def olga(session: Session) -> User:
    from tests.people import make_person

    return make_person(session, "olga", "operator")
