"""How two answers are read: differences, as they were written, formulas, and whatever is long or wide."""

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.database import open_session
from app.models import Project
from tests.browser.axe import nothing_wrong
from tests.browser.conftest import Desk, Open, SignIn
from tests.browser.desk import PAGE, desk, press
from tests.labeling.pairs import make_comparison


def test_differences_are_marked_and_remembered(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    alice = garden(0)
    with open_session() as session:
        project = session.scalars(select(Project)).one()
        for question in ("One?", "Two?"):
            make_comparison(
                session, project, question, a="An oak is a **large** tree.", b="An oak is a small old tree."
            )
    sign_in(browser_page, alice)
    browser_page.goto(PAGE)
    marked = """() => ["left", "right"].map((side) =>
        [...CSS.highlights.get(`differs-${side}`) ?? []].map((range) =>
            range.startContainer.data.slice(range.startOffset, range.endOffset)).join(" ")).sort()"""
    desk(browser_page)
    assert browser_page.evaluate(marked) == ["", ""]
    browser_page.keyboard.press("d")
    assert browser_page.evaluate(marked) == ["large", "small old"]
    press(browser_page, "4")
    assert browser_page.evaluate(marked) == ["large", "small old"]
    expect(browser_page.get_by_role("button", name="Differences")).to_have_attribute("aria-pressed", "true")
    browser_page.keyboard.press("d")
    assert browser_page.evaluate(marked) == ["", ""]


LONG = "\n\n".join(["A paragraph that goes on for a while, as answers do."] * 40)
WIDE = "```\n" + "x" * 400 + "\n```\n\n| " + " | ".join(["column"] * 30) + " |\n" + "|-" * 30 + "|\n\n" + "y" * 300


@pytest.mark.parametrize("size", [(360, 740), (768, 1024), (1440, 900), (844, 390), (2560, 1300)])
def test_long_and_wide_answers_never_push_the_page_or_the_dock_aside(
    garden: Desk, open_page: Open, sign_in: SignIn, size: tuple[int, int]
) -> None:
    alice = garden(0)
    with open_session() as session:
        make_comparison(session, session.scalars(select(Project)).one(), LONG, a=LONG, b=WIDE)
    page = open_page(viewport={"width": size[0], "height": size[1]})
    sign_in(page, alice)
    page.goto(PAGE)
    desk(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    for name in ("A much better", "About the same", "B much better"):
        expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
    for key in page.locator(".scale kbd:visible").all():
        box, button = key.bounding_box(), key.locator("..").bounding_box()
        assert box
        assert button
        assert box["width"] < 30, "a key is drawn as a small cap"
        assert abs(box["x"] + box["width"] / 2 - button["x"] - button["width"] / 2) < 2, "in the middle of its button"
    if size[0] == 360:
        page.locator(".side-switch").get_by_text("B").click()
        expect(page.locator("#right h2")).to_be_in_viewport()
        expect(page.locator(".side-switch a[aria-current]")).to_have_text("B")
        assert min(box["height"] for step in page.locator(".step").all() if (box := step.bounding_box())) >= 44


def test_answers_are_shown_as_they_were_written_on_demand(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    alice = garden(0)
    written = "An **oak** costs $x^2$.\u202e"
    with open_session() as session:
        make_comparison(session, session.scalars(select(Project)).one(), "One?", a=written, b="Elm")
    sign_in(browser_page, alice)
    browser_page.goto(PAGE)
    desk(browser_page)
    oak = browser_page.locator(".shown .scroll", has_text="oak")
    expect(oak.locator("math")).to_be_visible()
    browser_page.keyboard.press("t")
    expect(oak.locator("math")).to_be_hidden()
    expect(oak.locator(".written")).to_have_text("An **oak** costs $x^2$.[U+202E]")
    expect(browser_page.get_by_role("button", name="As written")).to_have_attribute("aria-pressed", "true")
    browser_page.keyboard.press("t")
    expect(oak.locator("strong")).to_be_visible()


def test_an_answer_is_copied_as_it_is_read(garden: Desk, open_page: Open, sign_in: SignIn) -> None:
    alice = garden(0)
    with open_session() as session:
        project = session.scalars(select(Project)).one()
        make_comparison(session, project, "One?", a="```python\nx = 1\n    y = 2\n```", b="Elm")
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    sign_in(page, alice)
    page.goto(PAGE)
    desk(page)
    page.keyboard.press("d")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.shown pre:not([hidden])'))")
    page.keyboard.press("Control+c")
    assert page.evaluate("navigator.clipboard.readText()").strip() == "x = 1\n    y = 2"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_axe_finds_nothing(garden: Desk, open_page: Open, sign_in: SignIn, scheme: str, width: int) -> None:
    alice = garden(0, criteria=["honest"])
    answer = (
        "# Title\n\n| a |\n|---|\n| b |\n\n```python\nx = 1  # note\n```\n\n[link](https://a.example) `code`\n\n> quote"
    )
    with open_session() as session:
        project = session.scalars(select(Project)).one()
        make_comparison(session, project, a=answer, b=LONG)
    page = open_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    sign_in(page, alice)
    page.goto(PAGE)
    desk(page)
    page.keyboard.press("d")
    for key in ("", "f", "s", "r", "?", "g"):
        if key:
            page.keyboard.press("Escape")
            page.keyboard.press(key)
        nothing_wrong(page, f"with {key!r} open")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    nothing_wrong(page, "with a choice that waits")
    press(page, "Enter")
    nothing_wrong(page, "with nothing left")
    page.goto("/projects/garden/history")
    page.get_by_role("link", name="Edit").click()
    page.locator("#desk[data-ready]").wait_for()
    nothing_wrong(page, "edit")
