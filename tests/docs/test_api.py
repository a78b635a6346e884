"""docs/api.md shows no call that is not there."""

import re
from pathlib import Path

from app.main import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def shown() -> set[tuple[str, str]]:
    """Method and path of every curl line; ids and slugs become {}."""
    calls = set()
    for line in re.findall(r"^curl .*(?:\n  .*)*", PAGE.read_text(), re.MULTILINE):
        path = re.search(r"\$URL(/[^\s?\"]+)", line)
        assert path, line
        given = re.search(r"-X (\w+)", line)
        method = given.group(1) if given else "POST" if "--json" in line else "GET"
        calls.add((method, re.sub(r"/(garden|\d+)(?=/|$)", "/{}", path.group(1))))
    return calls


def test_every_call_of_the_tour_is_an_operation_of_the_api() -> None:
    offered = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }
    calls = shown()
    assert len(calls) > 12
    assert calls <= offered, calls - offered
