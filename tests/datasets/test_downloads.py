"""A stored file over HTTP: whole, in parts, not again, and with a safe name."""

import hashlib
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.testclient import TestClient

from app.datasets.downloads import CHUNK, StoredFile, send

CONTENT = bytes(range(256)) * (3 * CHUNK // 256) + b"end"
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def get(tmp_path: Path) -> TestClient:
    (tmp_path / "x").write_bytes(CONTENT)
    file = StoredFile((tmp_path / "x").as_uri(), "garden-raw-1.jsonl", "application/jsonl", SHA, len(CONTENT))
    app = FastAPI()

    @app.get("/")
    @app.head("/")
    def read(request: Request) -> Response:
        return send(request, file)

    return TestClient(app)


def test_the_whole_file_has_a_name_and_its_hash_as_tag(get: TestClient) -> None:
    answer = get.get("/")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["etag"] == f'"{SHA}"'
    assert answer.headers["content-disposition"] == 'attachment; filename="garden-raw-1.jsonl"'
    assert (answer.headers["content-type"], answer.headers["accept-ranges"]) == ("application/jsonl", "bytes")
    assert answer.headers["content-length"] == str(len(CONTENT))


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        (f"bytes={CHUNK - 1}-{CHUNK}", CHUNK - 1, CHUNK + 1),
        ("bytes=100-", 100, len(CONTENT)),
        ("bytes=-3", len(CONTENT) - 3, len(CONTENT)),
        (f"bytes=-{10 * len(CONTENT)}", 0, len(CONTENT)),
        (f"bytes=5-{10 * len(CONTENT)}", 5, len(CONTENT)),
    ],
)
def test_a_part_comes_alone(get: TestClient, wanted: str, start: int, stop: int) -> None:
    answer = get.get("/", headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize(
    "wanted", ["bytes=9-3", "lines=1-2", "bytes=a-b", "bytes=-", "bytes=0-1,5-6", "bytes=" + "9" * 99]
)
def test_what_makes_no_sense_gets_the_whole_file(get: TestClient, wanted: str) -> None:
    assert get.get("/", headers={"Range": wanted}).status_code == 200


@pytest.mark.parametrize("wanted", [f"bytes={len(CONTENT)}-", "bytes=-0"])
def test_a_part_beyond_the_end_is_refused(get: TestClient, wanted: str) -> None:
    answer = get.get("/", headers={"Range": wanted})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")


def test_a_download_is_resumed_only_on_the_same_file(get: TestClient) -> None:
    same = get.get("/", headers={"Range": "bytes=10-", "If-Range": f'"{SHA}"'})
    other = get.get("/", headers={"Range": "bytes=10-", "If-Range": '"another"'})
    assert (same.status_code, other.status_code) == (206, 200)
    assert CONTENT[:10] + same.content == other.content == CONTENT


def test_who_has_it_already_gets_nothing_again(get: TestClient) -> None:
    answer = get.get("/", headers={"If-None-Match": f'"x", "{SHA}"'})
    assert (answer.status_code, answer.content) == (304, b"")


def test_head_tells_without_sending(get: TestClient) -> None:
    answer = get.head("/", headers={"Range": "bytes=0-9"})
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (206, b"", "10")
