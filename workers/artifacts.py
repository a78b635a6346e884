"""Atomic, hashed directories (checkpoints above all) on any fsspec store.

A directory holds plain files and `manifest.json`:
`{"files": {name: {"sha256", "bytes"}}, "kind", "base_model"}`. The SHA-256 of the manifest's bytes names the whole
directory, so one hash in a database row vouches for every byte. A reader trusts nothing that lacks an intact manifest.
"""

import hashlib
import json
import os
import posixpath
import secrets
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

MANIFEST = "manifest.json"
COPIES = 16
"""Directories of other stores that are kept on this machine's disk."""
# Nothing that can carry code (pickles above all) is ever written or read.
ALLOWED = (".safetensors", ".json", ".parquet", ".jsonl", ".txt")


class ArtifactDamaged(Exception):
    """The files at this address are not the ones that were written; make them again or restore them from a backup."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


def write(url: str, kind: str, base_model: str, files: dict[str, bytes]) -> str:
    """Write `files` as the directory `url`, whole or not at all, and return the directory's SHA-256.

    What lay at `url` before is replaced. Raises ValueError for a name that is no plain allowed file name.
    """
    for name in files:
        _check_name(name)
    manifest = {
        "files": {
            name: {"sha256": _digest(data), "bytes": len(data)}
            for name, data in sorted(files.items(), key=lambda f: f[0])
        },
        "kind": kind,
        "base_model": base_model,
    }
    manifest_bytes = json.dumps(manifest, indent=1, sort_keys=True).encode()
    filesystem, path = _resolve(url)
    if isinstance(filesystem, LocalFileSystem):
        _write_local(Path(path), {**files, MANIFEST: manifest_bytes})
    else:
        _write_remote(filesystem, path, files, manifest_bytes)
    return _digest(manifest_bytes)


def read(url: str, sha256: str | None = None, cache: Path | None = None) -> dict[str, bytes]:
    """Return every file of the directory `url` by name (the manifest apart), each checked against its hash.

    With `sha256` the manifest itself is checked too. With `cache` a directory that is not on this machine's disk is
    kept at `cache/<sha256>` and read from there the next time. Raises ArtifactDamaged, never returns part of it.
    """
    if cache is not None and sha256 is not None and not isinstance(_resolve(url)[0], LocalFileSystem):
        copy = cache / sha256
        if not copy.is_dir():
            manifest_bytes, files = _read(url, sha256)
            _write_local(copy, {**files, MANIFEST: manifest_bytes})
            _forget_old_copies(cache)
            return files
        copy.touch()  # the one that was used last is forgotten last
        url = str(copy)
    return _read(url, sha256)[1]


def _forget_old_copies(cache: Path) -> None:
    """Keep the copies that were used last, and whatever another process is writing."""
    copies = [one for one in cache.iterdir() if one.is_dir() and not one.name.startswith(".")]
    for old in sorted(copies, key=lambda one: one.stat().st_mtime, reverse=True)[COPIES:]:
        shutil.rmtree(old, ignore_errors=True)


def read_manifest(url: str, sha256: str | None = None) -> dict[str, Any]:
    """Return the manifest of the directory `url`, checked against `sha256` where one is given."""
    return _parse_manifest(url, _read_manifest_bytes(url, sha256))


def read_file(url: str, sha256: str | None = None) -> bytes:
    """Return one file's bytes, checked against `sha256` where one is given (prompts of a run, a snapshot's table)."""
    filesystem, path = _resolve(url)
    try:
        data: bytes = filesystem.cat_file(path)
    except FileNotFoundError:
        raise ArtifactDamaged(f"There is no file at {url}. Make it again or restore it from a backup.") from None
    if sha256 is not None and _digest(data) != sha256:
        raise ArtifactDamaged(f"{url} is not the file that was recorded (SHA-256 differs). Restore it from a backup.")
    return data


def write_file(url: str, data: bytes) -> str:
    """Write one file, whole or not at all, and return its SHA-256."""
    _check_name(posixpath.basename(url))
    filesystem, path = _resolve(url)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.makedirs(posixpath.dirname(path), exist_ok=True)
        filesystem.pipe_file(path, data)
        return _digest(data)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        _write_synced(temporary, data)
        temporary.replace(target)
        _sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return _digest(data)


def exists(url: str) -> bool:
    """Say whether a finished directory lies at `url` (its manifest is there; hashes are not checked)."""
    filesystem, path = _resolve(url)
    return bool(filesystem.exists(posixpath.join(path, MANIFEST)))


def delete(url: str) -> None:
    """Remove the directory `url`; it is no error if it is gone already."""
    filesystem, path = _resolve(url)
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)


def is_below(url: str, root: str) -> bool:
    """Say whether `url` lies below `root`, with every `..`, escape and symbolic link resolved first."""
    if urlsplit(url).query or urlsplit(url).fragment or "%" in url or "::" in url:
        return False
    filesystem, path = _resolve(url)
    root_filesystem, root_path = _resolve(root)
    if type(filesystem) is not type(root_filesystem):
        return False
    if isinstance(filesystem, LocalFileSystem):
        path, root_path = os.path.realpath(path), os.path.realpath(root_path)
    path, root_path = posixpath.normpath(path), posixpath.normpath(root_path)
    return path.startswith(root_path.rstrip("/") + "/")


def _read(url: str, sha256: str | None) -> tuple[bytes, dict[str, bytes]]:
    manifest_bytes = _read_manifest_bytes(url, sha256)
    files: dict[str, bytes] = {}
    for name, facts in _parse_manifest(url, manifest_bytes)["files"].items():
        data = read_file(_join(url, name))
        if len(data) != facts["bytes"] or _digest(data) != facts["sha256"]:
            raise ArtifactDamaged(f"{_join(url, name)} is damaged: its SHA-256 is not the recorded one. Run it again.")
        files[name] = data
    return manifest_bytes, files


def _read_manifest_bytes(url: str, sha256: str | None) -> bytes:
    data = read_file(_join(url, MANIFEST))
    if sha256 is not None and _digest(data) != sha256:
        raise ArtifactDamaged(f"{url} is not the directory that was recorded (SHA-256 differs). Run it again.")
    return data


def _parse_manifest(url: str, data: bytes) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(data)
        for name, facts in manifest["files"].items():
            _check_name(name)
            if not (isinstance(facts["bytes"], int) and isinstance(facts["sha256"], str)):
                raise TypeError(name)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ArtifactDamaged(f"{_join(url, MANIFEST)} is not a manifest of Pairloop. Run it again.") from None
    return manifest


def _write_local(target: Path, files: dict[str, bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        for name, data in files.items():
            _write_synced(temporary / name, data)
        _sync_directory(temporary)
        _swap(temporary, target)
        _sync_directory(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(temporary: Path, target: Path) -> None:
    """Rename `temporary` to `target`; a directory that is there already goes only after the new one took its place."""
    previous = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    if target.exists():
        target.rename(previous)
    temporary.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def _write_remote(filesystem: Any, path: str, files: dict[str, bytes], manifest: bytes) -> None:
    # Object stores have no rename. What was there goes first and the new manifest comes last, so that a directory torn
    # at any point has no manifest, or one whose hashes do not fit, and is refused.
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)
    filesystem.makedirs(path, exist_ok=True)
    for name, data in files.items():
        filesystem.pipe_file(posixpath.join(path, name), data)
    filesystem.pipe_file(posixpath.join(path, MANIFEST), manifest)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _resolve(url: str) -> tuple[Any, str]:
    filesystem, path = fsspec.core.url_to_fs(url.rstrip("/"))
    return filesystem, str(path)


def _join(url: str, name: str) -> str:
    return f"{url.rstrip('/')}/{name}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check_name(name: str) -> None:
    if name == MANIFEST or name.startswith(".") or "/" in name or "\\" in name or not name.endswith(ALLOWED):
        raise ValueError(f"{name!r} cannot be stored: only plain file names ending in {', '.join(ALLOWED)} are kept.")
