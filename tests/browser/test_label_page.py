"""The label page under real hands: ten pairs by keyboard, reasons, flags, criteria, undo, without script."""

from playwright.sync_api import Page, Route, expect
from sqlalchemy import select

from app.database import open_session
from app.models import Answer, Comparison, Project, User
from tests.browser.conftest import Desk, Open, SignIn
from tests.browser.desk import PAGE, desk, kept, press
from tests.labeling.pairs import make_comparison


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


def test_an_empty_desk_fills_itself(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(0))
    browser_page.goto(PAGE)
    expect(browser_page.get_by_role("heading", name="There are no prompts yet")).to_be_visible()
    with open_session() as session:
        make_comparison(session, session.scalars(select(Project)).one(), "At last?")
    expect(browser_page.locator("#prompt")).to_contain_text("At last?")
    expect(browser_page.locator("#prompt")).to_be_focused()
    press(browser_page, "4")


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


def test_after_steady_work_a_break_is_suggested_once(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(8))
    browser_page.clock.install()
    browser_page.goto(PAGE)
    rest = browser_page.locator(".rest")
    for minutes in (0, 9, 9, 9, 9):
        browser_page.clock.fast_forward(60_000 * minutes)
        browser_page.clock.run_for(500)
        press(browser_page, "4")
        browser_page.clock.run_for(500)
        expect(rest).to_be_hidden()
    browser_page.clock.fast_forward(60_000 * 9)
    press(browser_page, "4")
    browser_page.clock.run_for(500)
    expect(rest).to_contain_text("You have judged pairs for 45 minutes.")
    rest.get_by_role("button", name="Go on").click()
    expect(rest).to_be_hidden()
    browser_page.clock.fast_forward(60_000 * 9)
    press(browser_page, "4")
    browser_page.clock.run_for(500)
    expect(rest).to_be_hidden()


def test_a_beat_that_an_answer_overtakes_is_dropped(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(2))
    held: list[Route] = []
    browser_page.route("**/heartbeat", lambda route: held.append(route))
    with browser_page.expect_request("**/heartbeat"):
        browser_page.goto(PAGE)
    with browser_page.expect_event("requestfailed", lambda request: request.url.endswith("/heartbeat")):
        press(browser_page, "4")
    expect(browser_page.locator(".unsent")).to_be_hidden()
    assert len(held) == 1


def test_who_wants_no_reminder_gets_none(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    alice = garden(2)
    with open_session() as session:
        session.get_one(User, alice.id).break_after = 0
    sign_in(browser_page, alice)
    browser_page.goto(PAGE)
    browser_page.evaluate(
        "localStorage.setItem('worked-last', Date.now()); localStorage.setItem('working-since', Date.now() - 1e8)"
    )
    press(browser_page, "4")
    desk(browser_page)
    expect(browser_page.locator(".rest")).to_be_hidden()
