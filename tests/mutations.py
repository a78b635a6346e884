"""Break each formula of the trainer once, in a copy of the tree, and see the named test fail: `make mutations`.

`mutations.toml` is the table: by file and test file, the exact text, what is put in its place, and the test that must
fail. Where it passes all the same, the test protects nothing, or the formula has a part that does nothing.
"""

import contextlib
import importlib
import os
import shutil
import signal
import sys
import tempfile
import tomllib
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TREES = ("app", "workers", "tests/workers")
FILES = ("tests/__init__.py", "pyproject.toml")
# Imported once, before any test forks off: they take seconds. Nothing of ours may be among them.
HEAVY = ("torch", "transformers.models.llama.modeling_llama", "scipy.stats", "pyarrow.parquet")
LIMIT = 300
"""Seconds after which a test is ended that a mutation made endless."""


class Mutation(NamedTuple):
    """One formula broken in one way."""

    file: str
    old: str
    new: str
    test: str
    """The test that must fail, as pytest names it."""


def table() -> list[Mutation]:
    """Return every mutation, in the order of the file."""
    rows = tomllib.loads((ROOT / "tests/mutations.toml").read_text())
    return [
        Mutation(file, old, new, f"{tests}::{test}")
        for file, by_tests in rows.items()
        for tests, several in by_tests.items()
        for old, new, test in several
    ]


@contextlib.contextmanager
def copied_tree() -> Iterator[Path]:
    """Copy what the tests of the trainer need, without tests/conftest.py, which would start a Postgres."""
    with tempfile.TemporaryDirectory(prefix="pairloop-mutations-") as home:
        for name in TREES:
            shutil.copytree(ROOT / name, Path(home) / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copyfile(ROOT / name, Path(home) / name)
        yield Path(home)


def run_tests(home: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests in the copied tree, in a process of their own; return pytest's exit status and what it said."""
    output = home / "output.txt"
    child = os.fork()
    if child == 0:
        status = 3
        try:
            said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            status = _pytest(home, tests)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, found = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(found), output.read_text()


def _pytest(home: Path, tests: Sequence[str]) -> int:
    signal.alarm(LIMIT)
    os.chdir(home)
    sys.path.insert(0, str(home))
    # The same second and the same size: a cached module would be taken for the mutated one.
    sys.dont_write_bytecode = True
    # The plugin of anyio, which torch's friends have brought along.
    imported_already = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(importlib.import_module("pytest").main(["-x", "-p", "no:cacheprovider", *imported_already, *tests]))


def survives(home: Path, mutation: Mutation) -> str | None:
    """Return what pytest said if the test does not fail on the mutated file, else None."""
    file = home / mutation.file
    whole = file.read_text()
    file.write_text(whole.replace(mutation.old, mutation.new))
    status, said = run_tests(home, [mutation.test])
    file.write_text(whole)
    return None if status == 1 else f"exit status {status}\n{said}"


def main(parts: Sequence[str]) -> int:
    """Try the mutations of files whose names hold one of `parts`, all without; with --sample the first of each file."""
    chosen = table()
    if "--sample" in parts:
        chosen = list({mutation.file: mutation for mutation in reversed(chosen)}.values())
    elif parts:
        chosen = [mutation for mutation in chosen if any(part in mutation.file for part in parts)]
    os.environ["PAIRLOOP_BASE_MODEL"] = "tiny"
    for name in HEAVY:
        importlib.import_module(name)
    survivors = 0
    with copied_tree() as home:
        status, said = run_tests(home, sorted({mutation.test for mutation in chosen}))
        if status != 0:
            sys.stdout.write(f"{said}\nThese tests fail without any mutation; mend them first.\n")
            return 1
        for number, mutation in enumerate(chosen, start=1):
            said = survives(home, mutation)
            survivors += said is not None
            word = "fails as it must" if said is None else "passes, but must fail"
            sys.stdout.write(f"{number}/{len(chosen)} {mutation.file}: {mutation.old!r} -> {mutation.new!r}\n")
            sys.stdout.write(f"    {mutation.test} {word}\n{said or ''}")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} mutations, {survivors} survived\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
