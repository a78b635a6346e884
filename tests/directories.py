"""Directories for an embedded Postgres."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """A short path that other users may pass through: pytest's own tmp_path belongs to this user alone.

    As root, Postgres runs as another user who has to get there; and the path of its socket has 107 bytes.
    """
    path = Path(tempfile.mkdtemp(prefix="pl"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)
