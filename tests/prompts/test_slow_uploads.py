"""A file that takes minutes to arrive holds no connection to Postgres, and its sender is known before it is read."""

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from app.database import engine, open_session
from tests.live_server import serving
from tests.people import bearer, make_person, make_project

FORM = "multipart/form-data; boundary=edge"
FILE = (
    '--edge\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n',
    "Why?\n" * 100_000 + "\r\n--edge--\r\n",
)
LINES = ('["Why?",', '"How?"]')


@pytest.fixture
def server(committed: None) -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def bob(server: str) -> dict[str, str]:
    with open_session() as session:
        make_project(session)
        return bearer(session, make_person(session, "bob", "admin"))


def slowly(parts: tuple[str, str], held: list[int]) -> Iterator[bytes]:
    """A body in two parts; between them it is noted how many connections are held."""
    yield parts[0].encode()
    time.sleep(0.3)
    held.append(engine().pool.checkedout())  # type: ignore[attr-defined]
    yield parts[1].encode()


@pytest.mark.parametrize(
    ("path", "parts", "kind", "status"),
    [
        ("/api/v1/projects/garden/prompts", LINES, "application/json", 200),
        ("/api/v1/projects/garden/comparisons", LINES, "application/json", 200),
        ("/api/v1/projects/garden/imports", LINES, "application/json", 202),
        ("/api/v1/projects/garden/imports/preview", FILE, FORM, 200),
        ("/projects/garden/prompts/import", FILE, FORM, 303),
    ],
)
def test_no_connection_waits_for_a_body(
    server: str, bob: dict[str, str], path: str, parts: tuple[str, str], kind: str, status: int
) -> None:
    held: list[int] = []
    headers = {**bob, "content-type": kind}
    answer = httpx.post(server + path, content=slowly(parts, held), headers=headers, timeout=20)
    assert (answer.status_code, held) == (status, [0]), answer.text


def test_who_may_not_is_told_before_the_body_has_come(server: str, bob: dict[str, str]) -> None:
    with open_session() as session:
        eve = bearer(session, make_person(session, "eve", "annotator"))
    head = "POST /api/v1/projects/garden/imports HTTP/1.1"
    assert answer_to_the_head_alone(server, head, eve).startswith(b"HTTP/1.1 403")


def answer_to_the_head_alone(server: str, head: str, headers: dict[str, str]) -> bytes:
    """What the server says to a request whose body never comes."""
    url = httpx.URL(server)
    lines = [head, f"Host: {url.host}", "Content-Length: 1000", *(f"{name}: {said}" for name, said in headers.items())]
    with socket.create_connection((url.host, url.port), timeout=10) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection.recv(4096)
