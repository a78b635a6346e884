"""The label page under real hands: ten pairs by keyboard, clumsy clicks, two tabs, a dead line, a small screen."""

import time
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect
from sqlalchemy import delete, select

from app.database import open_session
from app.labeling import leases
from app.models import Answer, Assignment, Comparison, LoginSession, Project, User
from tests.browser.conftest import Open, SignIn, expecting
from tests.labeling.pairs import access_of, make_comparison, make_comparisons
from tests.people import make_person, make_project

PAGE = "/projects/garden/label"

Desk = Callable[..., User]


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


def desk(page: Page) -> str:
    """The assignment on the desk once it takes answers."""
    ready = page.locator("#desk[data-assignment][data-ready]")
    ready.wait_for()
    return str(ready.get_attribute("data-assignment"))


def press(page: Page, key: str) -> None:
    """Answer by one key and wait for what follows."""
    before = desk(page)
    page.keyboard.press(key)
    expect(page.locator(f"#desk[data-assignment='{before}']")).to_have_count(0)


def kept() -> list[tuple[str, str, int | None]]:
    """What is stored, oldest first: verdict, the side that was preferred, strength."""
    with open_session() as session:
        rows = session.execute(select(Answer, Assignment).join(Answer.assignment).order_by(Answer.id)).all()
        return [
            (answer.verdict, _side(answer.preferred, assignment.shown_left), answer.strength)
            for answer, assignment in rows
        ]


def _side(preferred: str | None, shown_left: str) -> str:
    if preferred is None:
        return ""
    return "left" if preferred == shown_left else "right"


def test_ten_pairs_by_keyboard(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(10))
    browser_page.goto(PAGE)
    for number, key in enumerate("1234567", 1):
        expect(browser_page.locator("#prompt")).to_contain_text(f"Name tree number {number}.")
        press(browser_page, key)
        expect(browser_page.locator("#prompt")).to_be_focused()
    expect(browser_page.locator("#announce")).to_have_text("Saved: B much better.")
    expect(browser_page.locator(".saved")).to_contain_text("Saved: B much better. Undo (U)")
    press(browser_page, "0")
    press(browser_page, "x")
    desk(browser_page)
    browser_page.keyboard.press("s")
    browser_page.keyboard.press("3")
    expect(browser_page.get_by_role("heading", name="You have been through every pair")).to_be_visible()
    expect(browser_page.locator("#announce")).to_have_text("Saved: Skipped.")
    assert kept() == [
        ("preferred", "left", 3),
        ("preferred", "left", 2),
        ("preferred", "left", 1),
        ("tie", "", None),
        ("preferred", "right", 1),
        ("preferred", "right", 2),
        ("preferred", "right", 3),
        ("both_bad", "", None),
        ("cannot_judge", "", None),
        ("skipped", "", None),
    ]
    with open_session() as session:
        skipped = session.scalars(select(Answer).where(Answer.verdict == "skipped")).one()
        assert skipped.skip_reason == "unclear"
        assert all(0 < (seconds or 0) < 60 for seconds in session.scalars(select(Answer.seconds_client)))


def test_undo_by_key_brings_the_pair_back(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(2))
    browser_page.goto(PAGE)
    first = desk(browser_page)
    press(browser_page, "3")
    press(browser_page, "u")
    assert desk(browser_page) == first
    expect(browser_page.get_by_role("button", name="A slightly better")).to_have_attribute("data-chosen", "")
    assert kept() == []
    press(browser_page, "5")
    press(browser_page, "4")
    browser_page.locator("#desk.nothing[data-ready]").wait_for()
    browser_page.keyboard.press("u")
    expect(browser_page.locator("#prompt")).to_contain_text("Name tree number 2.")
    assert kept() == [("preferred", "right", 1)]


def test_a_double_click_answers_one_pair(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(3))
    browser_page.goto(PAGE)
    first = desk(browser_page)
    browser_page.get_by_role("button", name="A better").dblclick()
    expect(browser_page.locator(f"#desk[data-assignment='{first}']")).to_have_count(0)
    second = desk(browser_page)
    browser_page.keyboard.press("6")
    browser_page.keyboard.press("6")
    expect(browser_page.locator(f"#desk[data-assignment='{second}']")).to_have_count(0)
    desk(browser_page)
    assert kept() == [("preferred", "left", 2), ("preferred", "right", 2)]


def test_a_second_click_that_lands_on_the_next_pair_answers_nothing(
    garden: Desk, browser_page: Page, sign_in: SignIn
) -> None:
    sign_in(browser_page, garden(3))
    browser_page.goto(PAGE)
    browser_page.evaluate(
        """document.addEventListener("htmx:afterSwap", () => setTimeout(() => {
            document.querySelector("#desk [value='left-2']").click();
            document.body.dataset.clickedAgain = "yes";
        }, 100), { once: true })"""
    )
    press(browser_page, "2")
    browser_page.locator("body[data-clicked-again]").wait_for()
    expect(browser_page.locator("#desk")).not_to_have_attribute("aria-busy", "true")
    press(browser_page, "6")
    expect(browser_page.locator("#prompt")).to_contain_text("Name tree number 3.")
    assert kept() == [("preferred", "left", 2), ("preferred", "right", 2)]


def test_two_tabs_store_one_answer_and_go_on(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(3))
    other = browser_page.context.new_page()
    for tab in (browser_page, other):
        tab.goto(PAGE)
        desk(tab)
    press(browser_page, "1")
    press(other, "7")
    expect(other.get_by_role("alert").first).to_contain_text("You answered this comparison already, and differently")
    expect(other.locator("#prompt")).to_contain_text("Name tree number 2.")
    # The same answer in both tabs is simply the answer.
    press(browser_page, "2")
    press(other, "2")
    expect(other.locator("#prompt")).to_contain_text("Name tree number 3.")
    expect(other.locator(".problem")).to_have_count(0)
    assert kept() == [("preferred", "left", 3), ("preferred", "left", 2)]
    other.close()


def test_keys_rest_while_typing_and_with_modifiers(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(2))
    browser_page.goto(PAGE)
    first = desk(browser_page)
    browser_page.keyboard.press("r")
    browser_page.keyboard.type("1 reason, 7 words: sfdu?")
    expect(browser_page.get_by_label("In a few words: why?")).to_have_value("1 reason, 7 words: sfdu?")
    browser_page.keyboard.press("Enter")
    for chord in ("Control+1", "Alt+2", "Meta+3"):
        browser_page.keyboard.press(chord)
    browser_page.keyboard.press("?")
    expect(browser_page.get_by_role("heading", name="Keys")).to_be_visible()
    browser_page.keyboard.press("1")
    browser_page.keyboard.press("Escape")
    expect(browser_page.get_by_role("heading", name="Keys")).to_be_hidden()
    assert desk(browser_page) == first
    press(browser_page, "1")
    with open_session() as session:
        assert session.scalars(select(Answer.rationale)).all() == ["1 reason, 7 words: sfdu?"]


def test_a_korean_keyboard_presses_the_same_buttons(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(1))
    browser_page.goto(PAGE)
    desk(browser_page)
    browser_page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ㄹ', code: 'KeyF', bubbles: true}))"
    )
    expect(browser_page.get_by_label("Harmful")).to_be_focused()


def test_flags_stand_beside_the_choice_and_enter_in_a_box_sends_nothing(
    garden: Desk, browser_page: Page, sign_in: SignIn
) -> None:
    sign_in(browser_page, garden(2))
    browser_page.goto(PAGE)
    first = desk(browser_page)
    browser_page.keyboard.press("f")
    browser_page.keyboard.press("Space")
    browser_page.keyboard.press("Enter")
    assert desk(browser_page) == first
    expect(browser_page.locator("summary", has_text="Flag").locator(".count")).to_have_text("1")
    browser_page.keyboard.press("Escape")
    press(browser_page, "2")
    with open_session() as session:
        assert session.scalars(select(Answer.flags)).all() == [["harmful"]]


def test_a_required_reason_opens_the_field_and_enter_sends(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(2, rationale="required", strengths=2))
    browser_page.goto(PAGE)
    first = desk(browser_page)
    browser_page.keyboard.press("2")
    reason = browser_page.get_by_label("In a few words: why?")
    expect(reason).to_be_focused()
    browser_page.keyboard.press("Enter")
    expect(browser_page.get_by_role("button", name="Send: A slightly better")).to_be_visible()
    assert desk(browser_page) == first
    browser_page.keyboard.type("It is shorter.")
    browser_page.keyboard.press("Enter")
    expect(browser_page.locator(f"#desk[data-assignment='{first}']")).to_have_count(0)
    assert kept() == [("preferred", "left", 1)]
    press(browser_page, "c")
    assert kept()[1:] == [("cannot_judge", "", None)]


def test_criteria_are_answered_beside_the_choice(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(1, criteria=["honest", "warm"], strengths=1))
    browser_page.goto(PAGE)
    desk(browser_page)
    browser_page.keyboard.press("1")
    browser_page.get_by_role("group", name="warm").get_by_label("B").check()
    press(browser_page, "Enter")
    with open_session() as session:
        answer = session.scalars(select(Answer)).one()
        assert list(answer.criteria) == ["warm"]
        assert answer.criteria["warm"] != answer.preferred


def test_without_a_connection_the_choice_is_kept_and_goes_out_by_itself(
    garden: Desk, browser_page: Page, sign_in: SignIn
) -> None:
    sign_in(browser_page, garden(2))
    browser_page.goto(PAGE)
    first = desk(browser_page)
    with expecting(browser_page, "Failed to load resource: net::ERR_INTERNET_DISCONNECTED", "htmx:"):
        browser_page.context.set_offline(True)
        browser_page.keyboard.press("6")
        expect(browser_page.get_by_role("alert")).to_contain_text("Not sent: there is no connection.")
        assert desk(browser_page) == first
        browser_page.context.set_offline(False)
        expect(browser_page.locator(f"#desk[data-assignment='{first}']")).to_have_count(0)
    assert kept() == [("preferred", "right", 2)]


def test_a_lost_reply_is_no_second_answer(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(2))
    browser_page.goto(PAGE)
    first = desk(browser_page)
    with expecting(browser_page, "Failed to load resource", "htmx:"):
        # The server gets it and answers; the answer is lost on the way back.
        browser_page.route(f"**{PAGE}/{first}", lambda route: (route.fetch(), route.abort()), times=1)
        browser_page.keyboard.press("6")
        expect(browser_page.get_by_role("alert")).to_contain_text("Not sent")
        assert len(kept()) == 1
        browser_page.get_by_role("button", name="Send again").click()
        expect(browser_page.locator(f"#desk[data-assignment='{first}']")).to_have_count(0)
    assert kept() == [("preferred", "right", 2)]


def test_signed_out_in_between_the_choice_waits_for_the_sign_in(
    garden: Desk, browser_page: Page, sign_in: SignIn
) -> None:
    alice = garden(2)
    sign_in(browser_page, alice)
    browser_page.goto(PAGE)
    first = desk(browser_page)
    with open_session() as session:
        session.execute(delete(LoginSession))
    with expecting(browser_page, "Failed to load resource", "Response Status Error Code 401", "htmx:"):
        browser_page.keyboard.press("3")
        expect(browser_page.get_by_role("alert")).to_contain_text("you are signed out")
    sign_in(browser_page, alice)
    browser_page.keyboard.press("Enter")
    expect(browser_page.locator(f"#desk[data-assignment='{first}']")).to_have_count(0)
    assert kept() == [("preferred", "left", 1)]


def test_an_empty_desk_fills_itself(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(0))
    browser_page.goto(PAGE)
    expect(browser_page.get_by_role("heading", name="There are no prompts yet")).to_be_visible()
    with open_session() as session:
        make_comparison(session, session.scalars(select(Project)).one(), "At last?")
    expect(browser_page.locator("#prompt")).to_contain_text("At last?")
    expect(browser_page.locator("#prompt")).to_be_focused()
    press(browser_page, "4")


def test_leaving_the_page_lets_the_pair_go(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    alice = garden(1)
    sign_in(browser_page, alice)
    browser_page.goto(PAGE)
    desk(browser_page)
    with open_session() as session:
        project = session.scalars(select(Project)).one()
        bob = access_of(session, make_person(session, "bob", "annotator"), project)
        assert leases.claim(session, bob) is None
    browser_page.goto("/projects")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with open_session() as session:
            if leases.claim(session, bob) is not None:
                return
    raise AssertionError("the pair stayed with Alice")


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


def test_it_works_without_javascript(garden: Desk, open_page: Open, sign_in: SignIn) -> None:
    page = open_page(java_script_enabled=False)
    sign_in(page, garden(3))
    page.goto(PAGE)
    page.get_by_role("button", name="A much better").click()
    expect(page.get_by_text("Saved: A much better.")).to_be_visible()
    page.locator("summary", has_text="Skip").click()
    page.get_by_role("button", name="The prompt makes no sense").click()
    expect(page.get_by_text("Saved: Skipped.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#prompt")).to_contain_text("Name tree number 2.")
    assert kept() == [("preferred", "left", 3)]


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
    if size[0] == 360:
        page.locator(".side-switch").get_by_text("B").click()
        expect(page.locator("#right h2")).to_be_in_viewport()
        expect(page.locator(".side-switch a[aria-current]")).to_have_text("B")
        assert min(box["height"] for step in page.locator(".step").all() if (box := step.bounding_box())) >= 44


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
    for address in ("history", "history?search=nothing"):
        page.goto(f"/projects/garden/{address}")
        nothing_wrong(page, address)
    page.goto("/projects/garden/history")
    page.get_by_role("link", name="Edit").click()
    desk_shown = page.locator("#desk[data-ready]")
    desk_shown.wait_for()
    nothing_wrong(page, "edit")


def nothing_wrong(page: Page, where: str) -> None:
    # What is half-way between two colours has no contrast of its own.
    page.evaluate(
        """Promise.all(document.getAnimations().filter((one) => one.effect.getTiming().iterations !== Infinity)
            .map((one) => one.finished.catch(() => null))).then(() => null)"""
    )
    results = Axe().run(page)
    assert results.violations_count == 0, f"{where}:\n{results.generate_report()}"


def test_editing_an_answer_by_key(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(1))
    browser_page.goto(PAGE)
    press(browser_page, "1")
    browser_page.goto("/projects/garden/history")
    browser_page.get_by_role("link", name="Edit").click()
    browser_page.locator("#desk[data-ready]").wait_for()
    browser_page.keyboard.press("7")
    expect(browser_page.get_by_text("B much better")).to_be_visible()
    assert kept() == [("preferred", "right", 3)]
    with open_session() as session:
        assert session.scalars(select(Comparison.status)).all() == ["complete"]
