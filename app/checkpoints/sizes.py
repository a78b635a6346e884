"""What the files of a checkpoint take on the disk."""

import json
from contextlib import suppress

from app.datasets import artifacts


def of(url: str) -> int | None:
    """What the files of a checkpoint take, as its manifest says; None where it has none that can be read."""
    with (
        suppress(OSError, ValueError, KeyError, TypeError),
        artifacts.opened(f"{url.rstrip('/')}/manifest.json") as file,
    ):
        return sum(int(facts["bytes"]) for facts in json.load(file)["files"].values())
    return None
