"""Files and directories that no other user of the machine can read."""

import os
from pathlib import Path


def make_private_directory(directory: Path) -> None:
    """Make a directory and its missing parents so that no other user can list them.

    Root's may be passed through, because the unprivileged user that runs the embedded Postgres has to.
    """
    for path in reversed([directory, *directory.parents]):
        if not path.exists():
            path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can read; raises FileExistsError where there is one."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
