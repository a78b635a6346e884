"""Checkpoint directories are written whole or not at all, and a changed byte is always noticed."""

import hashlib
import json
import os
import uuid
from pathlib import Path

import fsspec
import pytest

from workers import artifacts
from workers.artifacts import ArtifactDamaged

FILES = {"adapter_model.safetensors": b"\x00\x01weights", "card.json": b"{}"}


@pytest.fixture(params=["file", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return tmp_path.as_uri() if request.param == "file" else f"memory://artifacts-{uuid.uuid4().hex}"


def test_it_reads_back_what_was_written(root: str) -> None:
    sha256 = artifacts.write(f"{root}/checkpoints/12/", "policy", "tiny", FILES)
    assert artifacts.read(f"{root}/checkpoints/12", sha256) == FILES
    manifest = artifacts.read_manifest(f"{root}/checkpoints/12", sha256)
    assert (manifest["kind"], manifest["base_model"]) == ("policy", "tiny")
    assert manifest["files"]["card.json"] == {"sha256": hashlib.sha256(b"{}").hexdigest(), "bytes": 2}


def test_the_hash_is_that_of_the_manifest_and_the_same_for_the_same_files(root: str) -> None:
    first = artifacts.write(f"{root}/a", "policy", "tiny", FILES)
    again = artifacts.write(f"{root}/b", "policy", "tiny", dict(reversed(FILES.items())))
    stored = fsspec.open(f"{root}/a/manifest.json", "rb").open().read()
    assert first == again == hashlib.sha256(stored).hexdigest()


def test_a_second_write_replaces_the_first_and_leaves_nothing_beside_it(root: str) -> None:
    artifacts.write(f"{root}/a", "policy", "tiny", {**FILES, "extra.json": b"1"})
    sha256 = artifacts.write(f"{root}/a", "policy", "tiny", FILES)
    filesystem, path = fsspec.core.url_to_fs(root)
    assert [entry.rstrip("/").rsplit("/", 1)[-1] for entry in filesystem.ls(path, detail=False)] == ["a"]
    assert artifacts.read(f"{root}/a", sha256) == FILES
    assert not filesystem.exists(f"{path}/a/extra.json")


def test_a_changed_byte_is_noticed(root: str) -> None:
    sha256 = artifacts.write(f"{root}/a", "policy", "tiny", FILES)
    with fsspec.open(f"{root}/a/adapter_model.safetensors", "wb") as file:
        file.write(b"\x00\x02weights")
    with pytest.raises(ArtifactDamaged, match="damaged"):
        artifacts.read(f"{root}/a", sha256)


def test_a_truncated_file_and_a_missing_file_are_noticed(root: str) -> None:
    sha256 = artifacts.write(f"{root}/a", "policy", "tiny", FILES)
    with fsspec.open(f"{root}/a/card.json", "wb") as file:
        file.write(b"{")
    with pytest.raises(ArtifactDamaged):
        artifacts.read(f"{root}/a", sha256)
    filesystem, path = fsspec.core.url_to_fs(f"{root}/a/card.json")
    filesystem.rm(path)
    with pytest.raises(ArtifactDamaged, match="no file"):
        artifacts.read(f"{root}/a", sha256)


def test_a_directory_without_its_manifest_does_not_exist(root: str) -> None:
    artifacts.write(f"{root}/a", "policy", "tiny", FILES)
    filesystem, path = fsspec.core.url_to_fs(f"{root}/a/manifest.json")
    filesystem.rm(path)
    assert not artifacts.exists(f"{root}/a")
    with pytest.raises(ArtifactDamaged):
        artifacts.read(f"{root}/a")


def test_another_directory_under_the_same_address_is_refused(root: str) -> None:
    sha256 = artifacts.write(f"{root}/a", "policy", "tiny", FILES)
    artifacts.write(f"{root}/a", "policy", "tiny", {"card.json": b"[]"})
    with pytest.raises(ArtifactDamaged, match="recorded"):
        artifacts.read(f"{root}/a", sha256)


@pytest.mark.parametrize("name", ["weights.pt", "a/b.json", "../b.json", "manifest.json", ".hidden.json", "weights"])
def test_only_plain_names_of_harmless_formats_are_accepted(root: str, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        artifacts.write(f"{root}/a", "policy", "tiny", {name: b""})
    assert not artifacts.exists(f"{root}/a")


def test_a_manifest_that_points_outside_is_refused(root: str) -> None:
    manifest = {"files": {"../b.json": {"sha256": "0" * 64, "bytes": 0}}, "kind": "policy", "base_model": "tiny"}
    filesystem, path = fsspec.core.url_to_fs(f"{root}/a")
    filesystem.makedirs(path, exist_ok=True)
    filesystem.pipe_file(f"{path}/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(ArtifactDamaged, match="not a manifest"):
        artifacts.read(f"{root}/a")


def test_a_write_that_dies_half_way_leaves_the_old_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = (tmp_path / "a").as_uri()
    sha256 = artifacts.write(url, "policy", "tiny", FILES)
    calls = 0

    def dies_at_the_second_file(path: Path, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError("No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr(artifacts, "_write_synced", dies_at_the_second_file)
    with pytest.raises(OSError, match="No space"):
        artifacts.write(url, "policy", "tiny", {"card.json": b"[]", "other.json": b"1"})
    assert artifacts.read(url, sha256) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_remote_write_that_dies_half_way_is_seen_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://artifacts-{uuid.uuid4().hex}/a"
    artifacts.write(url, "policy", "tiny", FILES)
    filesystem, _ = fsspec.core.url_to_fs(url)
    real = filesystem.pipe_file

    def dies_at_the_manifest(path: str, data: bytes) -> None:
        if path.endswith("manifest.json"):
            raise OSError("Connection lost")
        real(path, data)

    monkeypatch.setattr(filesystem, "pipe_file", dies_at_the_manifest)
    with pytest.raises(OSError, match="Connection lost"):
        artifacts.write(url, "policy", "tiny", {"card.json": b"[]"})
    assert not artifacts.exists(url)


def test_a_remote_directory_is_kept_in_the_cache(tmp_path: Path) -> None:
    url = f"memory://artifacts-{uuid.uuid4().hex}/a"
    sha256 = artifacts.write(url, "policy", "tiny", FILES)
    assert artifacts.read(url, sha256, cache=tmp_path) == FILES
    artifacts.delete(url)
    assert artifacts.read(url, sha256, cache=tmp_path) == FILES
    (tmp_path / sha256 / "card.json").write_bytes(b"[]")
    with pytest.raises(ArtifactDamaged):
        artifacts.read(url, sha256, cache=tmp_path)


def test_single_files_are_checked_too(root: str) -> None:
    sha256 = artifacts.write_file(f"{root}/runs/17/prompts.jsonl", b'{"id": "1"}\n')
    assert artifacts.read_file(f"{root}/runs/17/prompts.jsonl", sha256) == b'{"id": "1"}\n'
    with pytest.raises(ArtifactDamaged, match="SHA-256 differs"):
        artifacts.read_file(f"{root}/runs/17/prompts.jsonl", "0" * 64)


def test_addresses_outside_the_root_are_told_apart(tmp_path: Path) -> None:
    root = (tmp_path / "artifacts").as_uri()
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "link").symlink_to(tmp_path)
    assert artifacts.is_below(f"{root}/checkpoints/12", root)
    assert artifacts.is_below(f"{root}/checkpoints/12/", root + "/")
    assert not artifacts.is_below(root, root)
    assert not artifacts.is_below(f"{root}-other/checkpoints/12", root)
    assert not artifacts.is_below(f"{root}/../secrets", root)
    assert not artifacts.is_below(f"{root}/%2e%2e/secrets", root)
    assert not artifacts.is_below(f"{root}/link/secrets", root)
    assert not artifacts.is_below("memory://artifacts/checkpoints/12", root)


def test_the_cache_keeps_what_was_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "COPIES", 2)
    kept = []
    for number in range(4):
        url = f"memory://artifacts-{uuid.uuid4().hex}/{number}"
        kept.append((url, artifacts.write(url, "policy", "tiny", {**FILES, f"{number}.json": b"{}"})))
        artifacts.read(*kept[-1], cache=tmp_path)
        os.utime(tmp_path / kept[-1][1], (number, number))
        if number == 2:
            artifacts.read(*kept[1], cache=tmp_path)  # used again, so it outlives the third
    assert {one.name for one in tmp_path.iterdir()} == {kept[1][1], kept[3][1]}
