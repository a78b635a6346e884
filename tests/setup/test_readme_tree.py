"""README's annotated tree is the tree: nothing missing, nothing invented, every line what the module says of itself."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def described() -> dict[str, str]:
    """Path -> description, from the fenced block in README that names app/; two spaces of indent per level."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    trees = [block for block in blocks if re.search(r"^app/ ", block, re.MULTILINE)]
    assert len(trees) == 1, "README has no annotated tree (a fenced block with a line that begins with app/)"
    found: dict[str, str] = {}
    parents: list[str] = []
    for line in trees[0].splitlines():
        match = re.match(r"( *)(\S+)\s+(\S.*)$", line)
        assert match, f"this line of the tree has no description: {line!r}"
        level = len(match[1]) // 2
        path = "".join(parents[:level]) + match[2]
        parents = [*parents[:level], match[2]]
        found[path] = match[3]
    return found


def own_words(path: str) -> str:
    """The first sentence of the docstring of a module, or of a room's __init__.py."""
    module = ROOT / path / "__init__.py" if path.endswith("/") else ROOT / path
    text = ast.get_docstring(ast.parse(module.read_text())) or ""
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0].rstrip(".")


def rooms() -> list[str]:
    return [
        f"{init.parent.relative_to(ROOT)}/" for top in ("app", "workers") for init in (ROOT / top).rglob("__init__.py")
    ]


def test_every_top_level_entry_is_named() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    names = {file.split("/")[0] + ("/" if "/" in file else "") for file in listed if file and not file.startswith(".")}
    assert names - set(described()) == set()


def test_everything_named_exists() -> None:
    assert [path for path in described() if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("room", rooms())
def test_a_room_is_named_with_its_own_words(room: str) -> None:
    assert described().get(room) == own_words(room)


def test_a_module_that_is_named_has_its_own_words() -> None:
    modules = {path: words for path, words in described().items() if re.match(r"(app|workers)/.*\.py$", path)}
    assert modules == {path: own_words(path) for path in modules}
