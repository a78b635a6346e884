"""The fixtures of these tests; the application is imported inside them, once its database stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from tests.datasets.scene import Scene


@pytest.fixture
def scene(session: Session) -> Scene:
    """A project with one answer of every kind."""
    from tests.datasets.scene import make_scene

    return make_scene(session)
