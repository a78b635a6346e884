"""Copies htmx out of the django-htmx wheel into the git-ignored static/vendor when Pairloop is built or installed."""

import hashlib
import importlib.metadata
import pathlib

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Path inside the wheel -> (name under static/vendor, SHA-256 of what we reviewed).
VENDORED = {
    "django_htmx/static/django_htmx/htmx-2.min.js": (
        "htmx.min.js",
        "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de",
    ),
    "django_htmx/static/django_htmx/ext/hx-sse-2.min.js": (
        "htmx-sse.min.js",
        "98a46496de0c3605fbffdce9167ba427bdd9553184f83f149c261891a92c0136",
    ),
}


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        target = pathlib.Path(self.root, "static", "vendor")
        target.mkdir(parents=True, exist_ok=True)
        wheel = importlib.metadata.distribution("django-htmx")
        for source, (name, expected) in VENDORED.items():
            content = pathlib.Path(wheel.locate_file(source)).read_bytes()
            found = hashlib.sha256(content).hexdigest()
            if found != expected:
                raise RuntimeError(f"{name} is not the file that was reviewed: SHA-256 {found}, expected {expected}")
            (target / name).write_bytes(content)
