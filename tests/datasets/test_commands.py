"""`pairloop export` offers what the page and the API offer; tests/setup/test_up.py runs it against a whole Pairloop."""

import re

import pytest
from typer.testing import CliRunner

from app.datasets import commands, filters, formats
from app.datasets.layouts import LAYOUTS
from app.models import PURPOSES


def test_its_help_names_every_layout_format_purpose_and_source() -> None:
    assert re.findall(r"[a-z]+", commands.LAYOUT.partition(":")[2]) == list(LAYOUTS)
    assert set(re.findall(r"[a-z]+(?:\.[a-z]+)?", commands.FORMAT.partition(" (")[0])) == set(formats.names())
    shown = CliRunner().invoke(commands.commands, ["--help"], env={"COLUMNS": "300"}).stdout
    for word in (*PURPOSES, *filters.SOURCES):
        assert word in shown


@pytest.mark.parametrize(("text", "sentence"), [("{", "This is no JSON"), ("[]", "Filters are an object")])
def test_filters_that_are_none_are_refused_before_anything_is_asked(text: str, sentence: str) -> None:
    done = CliRunner().invoke(
        commands.commands, ["--project", "garden", "--token", "x", "--url", "http://127.0.0.1:9", "--filters", text]
    )
    assert done.exit_code == 2
    assert sentence in re.sub(r"[\s│]+", " ", done.stderr)
