"""A list by keyboard and mouse: rows are ticked one by one, as a range, all at once; undone; phones show it whole."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.database import open_session
from app.models import Project, User
from tests.browser.conftest import Open, SignIn
from tests.pairs import make_prompt
from tests.people import make_person, make_project

PAGE = "/projects/garden/prompts"


@pytest.fixture
def bob(database: None) -> User:
    """Bob, an admin, with six prompts."""
    with open_session() as session:
        project = make_project(session)
        for n in range(6):
            make_prompt(session, project, f"Question {n}?")
        return make_person(session, "bob", "admin")


def ticked(page: Page) -> list[int]:
    """Which rows are ticked, from the top."""
    boxes = page.locator("tbody [type=checkbox]").all()
    return [n for n, box in enumerate(boxes) if box.is_checked()]


def test_rows_are_ticked_by_key_by_range_and_all_at_once_and_what_is_done_is_undone(
    browser_page: Page, sign_in: SignIn, bob: User
) -> None:
    page = browser_page
    sign_in(page, bob)
    page.goto(PAGE)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    assert ticked(page) == [1]
    page.locator("tbody [type=checkbox]").nth(4).click(modifiers=["Shift"])
    assert ticked(page) == [1, 2, 3, 4]
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("jx")
    expect(page.get_by_role("searchbox")).to_have_value("jx")
    page.get_by_label("All on this page").check()
    assert ticked(page) == [0, 1, 2, 3, 4, 5]
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.get_by_role("button", name="Withdraw").dblclick(delay=50)
    expect(page.get_by_text("6 prompts were withdrawn.")).to_be_visible()
    assert len(sent) == 1, "the second press would find nothing to do and take Undo away"
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("6 prompts are in use again.")).to_be_visible()


def test_all_that_match_are_offered_once_the_whole_page_is_ticked(
    browser_page: Page, sign_in: SignIn, bob: User
) -> None:
    page = browser_page
    with open_session() as session:
        project = session.scalars(select(Project)).one()
        for n in range(6, 60):
            make_prompt(session, project, f"Question {n}?")
    sign_in(page, bob)
    page.goto(PAGE)
    every = page.get_by_label("All 60 prompts, not only those on this page")
    expect(every).to_be_hidden()
    page.get_by_label("All on this page").check()
    expect(page.get_by_role("status").first).to_have_text("All 60 prompts, not only those on this page")
    every.check()
    page.locator("tbody [type=checkbox]").nth(7).click()
    expect(every).to_be_hidden()
    expect(every).not_to_be_checked()
    expect(page.get_by_label("All on this page")).not_to_be_checked()
    page.locator("tbody [type=checkbox]").nth(7).click()
    expect(page.get_by_label("All on this page")).to_be_checked()
    every.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.get_by_label("Tag").fill("poem")
    page.keyboard.press("Enter")
    expect(page.get_by_text("60 prompts have the tag poem now.")).to_be_visible()


def test_what_is_ticked_above_a_list_stays_when_the_list_is_sorted_and_searched(
    browser_page: Page, sign_in: SignIn, bob: User
) -> None:
    page = browser_page
    sign_in(page, bob)
    page.goto("/projects/garden/exports")
    page.get_by_role("button", name="Make the file").click()
    page.get_by_label("Simulated annotators").check()
    page.get_by_text("By purpose or source").click()
    for purpose in ("train", "holdout"):
        page.get_by_role("checkbox", name=purpose, exact=True).check()
    page.get_by_role("link", name="Rows").click()
    page.get_by_role("checkbox", name="train", exact=True).uncheck()
    page.get_by_role("searchbox").fill("format:jsonl")
    page.get_by_role("searchbox").press("Enter")
    expect(page).to_have_url(re.compile("q=format"))
    expect(page.get_by_label("Simulated annotators")).to_be_checked()
    expect(page.get_by_role("checkbox", name="holdout", exact=True)).to_be_checked()
    expect(page.get_by_role("checkbox", name="train", exact=True)).not_to_be_checked()
    expect(page.get_by_role("columnheader", name="Rows")).to_have_attribute("aria-sort", "ascending")


@pytest.mark.parametrize("path", [PAGE, "/people", "/people/invitations", "/audit", "/projects/garden/members", "/me"])
def test_it_fits_a_phone_and_can_be_read_by_everybody(open_page: Open, sign_in: SignIn, bob: User, path: str) -> None:
    page = open_page(viewport={"width": 360, "height": 800}, color_scheme="dark")
    sign_in(page, bob)
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]})
    assert found.violations_count == 0, found.generate_report()
