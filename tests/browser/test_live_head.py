"""The live head's pages in Chromium: a box that is unticked changes the score at once, and a phone is wide enough."""

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.database import open_session
from app.models import Chat, Prompt, User
from tests.browser.conftest import Open, SignIn
from tests.live_head.scene import FEATURES, add_answers, add_response, fit_now
from tests.people import make_person, make_project

GARDEN = "/projects/garden"


@pytest.fixture
def olga(database: None) -> User:
    """An operator, and a project with thirty answers; the newest response has a long word in it."""
    with open_session() as session:
        project = make_project(session)
        olga = make_person(session, "olga", "annotator", "operator")
        add_answers(session, project, olga, 30)
        prompt = session.scalars(select(Prompt).limit(1)).one()
        add_response(session, prompt, "Very " + "long" * 60, np.eye(FEATURES)[0])
        said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello", "best_of": 8}]
        session.add(Chat(project_id=project.id, user_id=olga.id, messages=said, best_of=8))
        fit_now(session, project)
    return olga


def open_score(page: Page) -> None:
    page.goto(f"{GARDEN}/runs")
    page.get_by_role("link", name="What it thinks, and why").click()
    page.locator("table a").first.click()


def test_unticking_an_answer_changes_the_score_without_leaving_the_page(
    olga: User, browser_page: Page, sign_in: SignIn
) -> None:
    sign_in(browser_page, olga)
    open_score(browser_page)
    expect(browser_page.locator("#score")).to_contain_text("The score is")
    here = browser_page.url
    browser_page.get_by_role("checkbox").first.uncheck()
    expect(browser_page.locator("#score")).to_contain_text("Without one answer the score is")
    browser_page.get_by_role("checkbox").nth(1).uncheck()
    expect(browser_page.locator("#score")).to_contain_text("Without 2 answers the score is")
    assert browser_page.url == here


def test_without_javascript_the_button_does_the_same(olga: User, open_page: Open, sign_in: SignIn) -> None:
    page = open_page(java_script_enabled=False)
    sign_in(page, olga)
    open_score(page)
    page.get_by_role("checkbox").first.uncheck()
    page.get_by_role("button", name="Score without the unticked answers").click()
    expect(page.locator("#score")).to_contain_text("Without one answer the score is")
    expect(page.get_by_role("checkbox").first).not_to_be_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen_and_axe_finds_nothing(
    olga: User, open_page: Open, sign_in: SignIn, scheme: str
) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    sign_in(page, olga)
    open_score(page)
    score = page.url
    for address in (f"{GARDEN}/runs", f"{GARDEN}/live-head", score, f"{GARDEN}/chat/1"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, address
        assert Axe().run(page).response["violations"] == [], address
    expect(page.get_by_label("Best of")).to_have_value("8")
