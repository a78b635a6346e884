"""From the key to the next pair on the screen: real Chromium, the real web process, Postgres with fsync on.

Timed in the page, from the key's own event to the frame after the one in which the next pair was drawn. The peer is
Label Studio 1.23, whose next task took 467 ms, timed the same way.
"""

import os
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from app.accounts.access import COOKIE
from app.database import engine, migrate, open_session
from app.embedded_postgres import Server
from app.settings import settings
from bench.figures import Figure
from bench.labels import fill, serving

ANSWERS, WARM_UP = 100, 10
PEER = 467.0
"""Milliseconds of Label Studio 1.23 at the median."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
TIMED = """
    window.took = [];
    document.addEventListener("keydown", (event) => (window.pressed = event.timeStamp), true);
    document.addEventListener("htmx:afterSwap", () =>
        requestAnimationFrame(() => setTimeout(() => window.took.push(performance.now() - window.pressed))));
"""


def measure() -> list[Figure]:
    """Median and 95th percentile of a hundred answers by key."""
    with tempfile.TemporaryDirectory(prefix="pairloop-bench-") as empty:
        Path(empty).chmod(0o755)  # as root, Postgres runs as another user who has to get there
        server = Server(home=Path(empty) / "postgres")
        server.start()
        try:
            settings.database_url = server.url()
            engine.cache_clear()
            migrate()
            with open_session() as session:
                tokens = fill(session, WARM_UP + ANSWERS + 1, 1)
            with serving(tokens) as web, sync_playwright() as playwright:
                named = os.environ.get("PAIRLOOP_TEST_BROWSER")
                found = named or next((path for name in BROWSERS if (path := shutil.which(name))), None)
                browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
                url = f"http://127.0.0.1:{web.port}"
                page = browser.new_page(base_url=url, viewport={"width": 1440, "height": 900})
                page.context.add_cookies([{"name": COOKIE, "value": tokens[0], "url": url}])
                took = _answer(page)
                browser.close()
        finally:
            engine().dispose()
            server.stop()
    cut = statistics.quantiles(took, n=20)
    return [
        Figure(f"key to the next pair on the screen, p50 of {ANSWERS}", cut[9], "ms"),
        Figure("… p95", cut[18], "ms", at_most=100),
        Figure(f"… Label Studio's {PEER:g} ms beside the p50", PEER / cut[9], "x"),
    ]


def _answer(page: Page) -> list[float]:
    """Milliseconds of each answer, the first ones left out."""
    page.goto("/projects/bench/label")
    page.evaluate(TIMED)
    for number in range(WARM_UP + ANSWERS):
        page.locator("#desk[data-assignment][data-ready]").wait_for()
        page.keyboard.press("1234567"[number % 7])
        page.wait_for_function("(n) => window.took.length > n", arg=number)
    took: list[float] = page.evaluate("window.took")
    return took[WARM_UP:]
