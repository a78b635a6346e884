"""Real Chromium against a real web process: its own port, committed rows, and nothing wrong on any page."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from app.accounts import sessions
from app.accounts.access import COOKIE
from app.database import open_session
from app.models import User
from tests.labeling.pairs import make_comparisons
from tests.people import make_person, make_project

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def server_url(migrated: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `uvicorn app.main:app`, a process of its own on the tests' database."""
    log = tmp_path_factory.mktemp("web") / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port), "--timeout-graceful-shutdown", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while not _answers(f"{url}/healthz"):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    yield url
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    assert "Traceback" not in log.read_text(), log.read_text()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def database(committed: None) -> None:
    """What a test writes with `open_session()` is committed, so that the web process sees it, and emptied out after."""


# Of the package, not the session: while Playwright is started its event loop runs, and other tests want their own.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium, or the one that Playwright brought."""
    named = os.environ.get("PAIRLOOP_TEST_BROWSER")
    found = named or next((path for name in BROWSERS if (path := shutil.which(name))), None)
    browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
    yield browser
    browser.close()


Desk = Callable[..., User]
Open = Callable[..., Page]
SignIn = Callable[[Page, User], None]


@pytest.fixture
def sign_in(server_url: str, database: None) -> SignIn:
    """Signs a person in to the page's browser, as after the sign-in form."""

    def start(page: Page, person: User) -> None:
        with open_session() as session:
            token = sessions.start(session, session.get_one(User, person.id), "Mozilla/5.0 Chromium")
        page.context.add_cookies([{"name": COOKIE, "value": token, "url": server_url}])

    return start


@pytest.fixture
def garden(database: None) -> Desk:
    """Makes the project with so many pairs and a labelling policy, and gives Alice who labels there."""

    def make(pairs: int, **policy: object) -> User:
        with open_session() as session:
            project = make_project(session)
            project.labeling = policy
            make_comparisons(session, project, pairs)
            return make_person(session, "alice", "annotator")

    return make


@pytest.fixture
def open_page(browser: Browser, server_url: str, database: None) -> Iterator[Open]:
    """Opens pages, each a browser of its own with Playwright's options for a context; fails on whatever one complains.

    A page's `expected` list takes the beginnings of complaints that the test itself provokes.
    """
    complaints: list[str] = []
    contexts = []

    def open_one(**options: object) -> Page:
        context = browser.new_context(**{"base_url": server_url, **options})  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        watch(page, complaints)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == [], "\n".join(complaints)


@pytest.fixture
def browser_page(open_page: Open) -> Page:
    """One page of 1440 x 900."""
    return open_page(viewport={"width": 1440, "height": 900})


def watch(page: Page, complaints: list[str]) -> None:
    """Note every error of the console (a broken CSP among them), every uncaught exception, every server error."""

    def note(what: str) -> None:
        if not any(what.startswith(known) for known in _expected.get(page, ())):
            complaints.append(what)

    page.on("console", lambda message: note(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: note(f"exception: {error}"))
    page.on("response", lambda response: note(f"{response.status}: {response.url}") if response.status >= 500 else None)


_expected: dict[Page, list[str]] = {}


@contextmanager
def expecting(page: Page, *beginnings: str) -> Iterator[None]:
    """Within the block, complaints of the page that begin so are what the test wants to see."""
    _expected[page] = [f"console: {beginning}" for beginning in beginnings]
    try:
        yield
    finally:
        del _expected[page]
