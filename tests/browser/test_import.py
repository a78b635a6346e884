"""A table comes in by the page of three steps: shown before it is stored, its columns changed, its errors taken out."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.database import open_session
from app.models import Prompt, User
from tests.browser.conftest import SignIn
from tests.people import make_person, make_project
from tests.workers.worker import work_until_idle

TABLE = """\
question,words,topic
Why is the sky blue?,Tell me about the sky.,science
How do bees dance?,,animals
What is a comet?,"Tell me about comets, please.",science
"""


@pytest.fixture
def bob(database: None) -> User:
    with open_session() as session:
        make_project(session)
        return make_person(session, "bob", "admin")


def stored() -> list[tuple[str, list[str]]]:
    with open_session() as session:
        return [(one.messages[0]["content"], one.tags) for one in session.scalars(select(Prompt).order_by(Prompt.id))]


def test_a_table_is_shown_its_columns_are_changed_and_its_wrong_lines_come_out(
    browser_page: Page, sign_in: SignIn, bob: User, tmp_path: Path
) -> None:
    page = browser_page
    sign_in(page, bob)
    page.goto("/projects/garden/prompts/import")
    table = tmp_path / "table.csv"
    table.write_text(TABLE)
    page.get_by_label("Or choose a file").set_input_files(table)
    page.get_by_role("button", name="Look at it").click()

    # Recognised by its names, and nothing is stored yet.
    rows = page.locator(".import-rows")
    expect(page.get_by_text("Prompts in the first 3 rows: 3.")).to_be_visible()
    expect(rows.get_by_text("How do bees dance?")).to_be_visible()
    assert page.locator("#import-prompt").input_value() == "question"
    assert stored() == []

    # Another column is the prompt: the rows change at once, and say which cannot be used.
    page.locator("#import-prompt").select_option("words")
    expect(page.get_by_text("Prompts in the first 3 rows: 2.")).to_be_visible()
    expect(page.get_by_text("1 cannot be used.")).to_be_visible()
    expect(rows.get_by_text("Tell me about the sky.")).to_be_visible()
    expect(rows.get_by_text("How do bees dance?")).to_be_hidden()

    page.get_by_role("button", name="Bring the prompts in").click()
    line = page.locator("tr[id^=import-]")
    expect(line.locator("[data-status=queued]")).to_be_visible()
    # Playwright has this thread's event loop; the page hears of the end by itself.
    with ThreadPoolExecutor(1) as worker:
        worker.submit(work_until_idle).result()
    expect(line.locator("[data-status=succeeded]")).to_be_visible()
    expect(line.get_by_text("2 prompts were added.")).to_be_visible()
    assert stored() == [("Tell me about the sky.", ["science"]), ("Tell me about comets, please.", ["science"])]

    line.get_by_text("1 line could not be used").click()
    expect(line.locator("dt")).to_have_text("3")
    with page.expect_download() as coming:
        line.get_by_role("link", name="Download the wrong lines").click()
    assert Path(coming.value.path()).read_text() == "question,words,topic\nHow do bees dance?,,animals\n"
