"""Directories of files in the artefact store: made beside their place, then put there whole; read by URL."""

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from app.private_files import make_private_directory
from app.settings import settings

MANIFEST = "manifest.json"
CHUNK = 1 << 20


def url_of(*parts: str) -> str:
    """The address of something in this installation's artefact store."""
    return "/".join([settings.artifacts, *parts])


@contextlib.contextmanager
def made_for(url: str) -> Iterator[Path]:
    """An empty private directory on this machine to make `url` in; what is not `put` there is gone afterwards."""
    filesystem, path = _resolve(url)
    parent = None
    if isinstance(filesystem, LocalFileSystem):
        # On the same disk, so that the finished directory only has to be renamed.
        parent = Path(path).parent
        make_private_directory(parent)
    directory = Path(tempfile.mkdtemp(dir=parent, prefix=".", suffix=".tmp"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def put(directory: Path, url: str) -> None:
    """Make `directory` (of `made_for`) the directory at `url`, whole or not at all; replaces what was there."""
    filesystem, path = _resolve(url)
    for file in directory.iterdir():
        _sync(file)
    if isinstance(filesystem, LocalFileSystem):
        _swap(directory, Path(path))
        return
    # Object stores have no rename: a directory without a manifest does not count, so that goes first and comes last.
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm_file(f"{path}/{MANIFEST}")
    for file in sorted(directory.iterdir(), key=lambda file: file.name == MANIFEST):
        filesystem.put_file(str(file), f"{path}/{file.name}")


@contextlib.contextmanager
def opened(url: str) -> Iterator[IO[bytes]]:
    """A file of the store, for reading and seeking; raises FileNotFoundError."""
    filesystem, path = _resolve(url)
    with filesystem.open(path, "rb") as file:
        yield cast(IO[bytes], file)


def exists(url: str) -> bool:
    """Whether this file lies in the store."""
    filesystem, path = _resolve(url)
    return bool(filesystem.exists(path))


@contextlib.contextmanager
def rewritten(url: str) -> Iterator[Path]:
    """A new private file on this machine; when the block ends it takes the place of the file at `url`, at once."""
    with made_for(url) as directory:
        path = directory / "file"
        yield path
        _sync(path)
        filesystem, target = _resolve(url)
        if isinstance(filesystem, LocalFileSystem):
            path.replace(target)
            _sync(Path(target).parent)
        else:
            filesystem.put_file(str(path), target)


def remove(url: str) -> None:
    """Remove a directory of the store, and all that is in it; it may be gone already."""
    filesystem, path = _resolve(url)
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm(path, recursive=True)


def sha256_of(file: IO[bytes]) -> str:
    """The SHA-256 of everything that is left to read, as hexadecimal digits."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def facts_of(path: Path) -> dict[str, Any]:
    """What a manifest says of a file: `{"sha256", "bytes"}`."""
    with path.open("rb") as file:
        return {"sha256": sha256_of(file), "bytes": path.stat().st_size}


def facts_at(url: str) -> dict[str, Any]:
    """The same of a file of the store."""
    with opened(url) as file:
        return {"sha256": sha256_of(file), "bytes": file.tell()}


def _swap(directory: Path, target: Path) -> None:
    previous = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with contextlib.suppress(FileNotFoundError):
        target.rename(previous)
    directory.rename(target)
    _sync(target.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _resolve(url: str) -> tuple[Any, str]:
    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, str(path)
