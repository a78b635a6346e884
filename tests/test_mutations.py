"""The table of mutations fits the code: what it breaks is there, and no formula of the trainer is left out."""

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.mutations import ROOT, Mutation, table

# Every function of these is a formula, or a part of one.
FORMULAS = [
    "workers/ppo/math.py",
    "workers/dpo/loss.py",
    *(f"workers/reward/{name}.py" for name in ("loss", "head", "reliability", "report")),
    *(f"workers/language/{name}.py" for name in ("logprobs", "sampling")),
]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Functions of a module and methods of its classes, not those inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node)


def names_in(file: str) -> set[str]:
    return {node.name for node in functions(ast.parse((ROOT / file).read_text()))}


def broken(mutation: Mutation) -> str | None:
    """Say what is wrong with a line of the table."""
    file, _, test = mutation.test.partition("::")
    count = (ROOT / mutation.file).read_text().count(mutation.old)
    if count != 1:
        return f"{mutation.file} has {mutation.old!r} {count} times"
    if test not in names_in(file):
        return f"{file} has no {test}"
    return "nothing is changed" if mutation.old == mutation.new else None


def test_what_the_table_breaks_is_there_once_and_so_are_its_tests() -> None:
    assert [found for mutation in table() if (found := broken(mutation))] == []


@pytest.mark.parametrize("file", FORMULAS)
def test_every_formula_is_broken_at_least_once(file: str) -> None:
    text = (ROOT / file).read_text()
    lines = {text[: text.index(mutation.old)].count("\n") + 1 for mutation in table() if mutation.file == file}
    whole = {node.name: range(node.lineno, (node.end_lineno or 0) + 1) for node in functions(ast.parse(text))}
    assert [name for name, span in whole.items() if not lines & {*span}] == []


@pytest.mark.slow
def test_the_first_mutation_of_each_file_makes_its_test_fail() -> None:
    found = subprocess.run(
        [sys.executable, "tests/mutations.py", "--sample"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.stdout.endswith(" mutations, 0 survived\n"), found.stdout + found.stderr
