"""Every route says who may use it."""

from collections.abc import Iterator
from typing import Any

from fastapi.dependencies.models import Dependant

from app.accounts.access import GUARDS
from app.main import app


def calls(dependant: Dependant) -> set[object]:
    """The dependant's own function and those of everything it depends on."""
    return {dependant.call}.union(*(calls(child) for child in dependant.dependencies))


def routes() -> Iterator[Any]:
    """Every route of every room, with its router's dependencies worked in."""
    for included in app.routes:
        if hasattr(included, "effective_route_contexts"):
            yield from included.effective_route_contexts()


def test_every_route_declares_a_guard() -> None:
    found = list(routes())
    assert len(found) > 2, "the routes were not found, so nothing was checked"
    assert [f"{route.methods} {route.path}" for route in found if not calls(route.dependant) & GUARDS] == []
