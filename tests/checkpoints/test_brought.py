"""What is refused of an archive before it is unpacked: pickles, links, paths outside, bombs, what is no model."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.checkpoints import brought
from app.errors import BadInput, TooLarge

ADAPTER = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_model_in_a_folder_of_its_own_is_unpacked_flat(
    pack: Callable[[dict[str, bytes]], io.BytesIO], tmp_path: Path
) -> None:
    file = pack({f"model/{name}": data for name, data in {**ADAPTER, "README.md": b"#", "tokenizer.txt": b""}.items()})
    brought.check(file)
    brought.unpack(file, tmp_path)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == ADAPTER


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"pytorch_model.bin": b"\x80"}, "may be a pickle"),
        ({"training.PT": b"\x80"}, "may be a pickle"),
        ({"a/optimizer.ckpt": b"\x80"}, "may be a pickle"),
        ({"../outside.json": b"{}"}, "outside itself"),
        ({"/etc/outside.json": b"{}"}, "outside itself"),
        ({"a\\..\\..\\outside.json": b"{}"}, "outside itself"),
        ({"c:/outside.json": b"{}"}, "outside itself"),
    ],
)
def test_what_could_harm_is_refused(
    pack: Callable[[dict[str, bytes]], io.BytesIO], more: dict[str, bytes], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        brought.check(pack(ADAPTER | more))


def test_links_are_refused() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("adapter_model.safetensors")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(BadInput, match="holds a link"):
        brought.check(file)
    linked = io.BytesIO()
    with zipfile.ZipFile(linked, "w") as packed:
        info = zipfile.ZipInfo("adapter_model.safetensors")
        info.external_attr = 0o120777 << 16
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(BadInput, match="holds a link"):
        brought.check(linked)


@pytest.mark.parametrize("pack", [lambda files: zipped(files, zipfile.ZIP_DEFLATED), tarred])
def test_a_bomb_is_refused_before_it_is_unpacked(
    pack: Callable[[dict[str, bytes]], io.BytesIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = pack(ADAPTER | {"more.safetensors": bytes(2_000_000)})
    assert file.seek(0, 2) < 20_000
    monkeypatch.setattr(brought, "MOST_BYTES", 1_000_000)
    with pytest.raises(TooLarge):
        brought.check(file)


def test_too_many_files_are_refused() -> None:
    with pytest.raises(TooLarge):
        brought.check(zipped(ADAPTER | {f"{number}.json": b"" for number in range(brought.MOST_FILES)}))


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (io.BytesIO(b"no archive"), "neither a zip nor a tar"),
        (io.BytesIO(b""), "neither a zip nor a tar"),
        (zipped({"config.json": b"{}"}), "no .safetensors file"),
        (zipped({"model.safetensors": b""}), "neither adapter_config.json"),
        (zipped({"a/x.json": json.dumps({}).encode()}), "no .safetensors file"),
    ],
)
def test_what_is_no_model_gets_a_sentence(file: io.BytesIO, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        brought.check(file)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    file = zipped(ADAPTER | {"other/adapter_model.safetensors": b"other"})
    brought.check(file)
    with pytest.raises(BadInput, match="two files called"):
        brought.unpack(file, tmp_path)
