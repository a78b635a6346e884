"""Korean on the label page, and texts that run from right to left, as a browser lays them out."""

import pytest
from playwright.sync_api import Page, expect

from app.database import open_session
from app.models import User
from tests.browser.conftest import Open, SignIn, expecting
from tests.labeling.pairs import make_comparisons
from tests.pairs import make_comparison, make_prompt
from tests.people import make_person, make_project

PAGE = "/projects/garden/label"
ARABIC = "الماء يغلي عند مئة درجة.\n\n- أولاً: الماء"
ENGLISH = "Water boils at 100 degrees."


@pytest.fixture
def alice(database: None) -> User:
    """Alice, with pairs to label; the first is asked in Arabic, and answered in Arabic and in English."""
    with open_session() as session:
        project = make_project(session)
        make_comparisons(session, project, 2)
        first = make_comparison(session, make_prompt(session, project, "متى يغلي الماء؟"))
        first.priority = 9
        first.response_a.text, first.response_b.text = ARABIC, ENGLISH
        return make_person(session, "alice", "annotator")


def edges(page: Page, text: str) -> tuple[float, float]:
    """How far the glyphs of a text are from the left and from the right edge of the block they stand in."""
    place = """(text) => {
        const walk = document.createTreeWalker(document.querySelector(".answers"), NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) if (walk.currentNode.data.includes(text)) {
            const range = document.createRange();
            range.selectNodeContents(walk.currentNode);
            const [glyphs, block] = [range, walk.currentNode.parentElement].map((one) => one.getBoundingClientRect());
            return [glyphs.left - block.left, block.right - glyphs.right];
        }
    }"""
    left, right = page.evaluate(place, text)
    return left, right


def test_an_arabic_answer_is_set_from_the_right_and_an_english_one_from_the_left(
    browser_page: Page, sign_in: SignIn, alice: User
) -> None:
    sign_in(browser_page, alice)
    browser_page.goto(PAGE)
    left, right = edges(browser_page, "الماء يغلي")
    assert right < 2 < left
    left, right = edges(browser_page, ENGLISH)
    assert left < 2 < right


@pytest.mark.parametrize("width", [360, 1440])
def test_the_desk_speaks_korean_and_nothing_is_cut_off(
    open_page: Open, sign_in: SignIn, alice: User, width: int
) -> None:
    page = open_page(viewport={"width": width, "height": 800}, locale="ko-KR")
    sign_in(page, alice)
    page.goto(PAGE)
    page.locator("#desk[data-ready]").wait_for()
    cut = "all => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent.trim())"
    assert page.locator(".scale button, .tools button, .tools summary").evaluate_all(cut) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.keyboard.press("2")
    expect(page.locator(".saved")).to_contain_text("저장됨: A가 나음.")
    page.locator("#desk[data-ready]").wait_for()
    with expecting(page, "Failed to load resource: net::ERR_INTERNET_DISCONNECTED", "htmx:"):
        page.context.set_offline(True)
        page.keyboard.press("2")
        expect(page.locator(".unsent")).to_contain_text("보내지 못함: 연결이 없습니다.")
        page.context.set_offline(False)
