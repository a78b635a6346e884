"""Nothing is lost: clumsy clicks, two tabs, a dead line, a lost lease, Back, a sign-out, a server that starts again."""

import time

import httpx
from playwright.sync_api import Page, expect
from sqlalchemy import delete, select

from app.database import open_session
from app.labeling import leases
from app.models import Answer, Assignment, LoginSession, Project
from tests.browser.conftest import Desk, Open, SignIn, expecting
from tests.browser.desk import PAGE, desk, kept, press
from tests.labeling.pairs import access_of, lapse
from tests.live_server import Server
from tests.people import make_person


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
        # The server gets it and answers; the answer is lost on the way back, and so is that of a try in between.
        browser_page.route(f"**{PAGE}/{first}", lambda route: (route.fetch(), route.abort()))
        browser_page.keyboard.press("6")
        expect(browser_page.get_by_role("alert")).to_contain_text("Not sent")
        assert len(kept()) == 1
        browser_page.unroute(f"**{PAGE}/{first}")
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


def test_ten_seconds_without_a_connection_lose_nothing(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(2))
    browser_page.clock.install()
    browser_page.goto(PAGE)
    browser_page.clock.run_for(500)
    first = desk(browser_page)
    with expecting(browser_page, "Failed to load resource: net::ERR_INTERNET_DISCONNECTED", "htmx:"):
        browser_page.context.set_offline(True)
        browser_page.keyboard.press("6")
        expect(browser_page.get_by_role("alert")).to_contain_text("Your choice is kept and goes out by itself")
        for _ in range(2):  # it tries again every five seconds
            with browser_page.expect_event("requestfailed"):
                browser_page.clock.run_for(5_000)
        assert (desk(browser_page), kept()) == (first, [])
        browser_page.context.set_offline(False)
        expect(browser_page.locator(f"#desk[data-assignment='{first}']")).to_have_count(0)
    assert kept() == [("preferred", "right", 2)]


def test_back_comes_to_the_pair_that_is_to_be_answered(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(3))
    browser_page.goto(PAGE)
    press(browser_page, "1")
    desk(browser_page)
    browser_page.goto("/projects/garden/history")
    browser_page.go_back()
    expect(browser_page.locator("#prompt")).to_contain_text("Name tree number 2.")
    press(browser_page, "7")
    assert kept() == [("preferred", "left", 3), ("preferred", "right", 3)]


def test_back_without_script_answers_nothing_a_second_time(garden: Desk, open_page: Open, sign_in: SignIn) -> None:
    page = open_page(java_script_enabled=False)
    sign_in(page, garden(3))
    page.goto(PAGE)
    page.get_by_role("button", name="A much better").click()
    expect(page.get_by_text("Saved: A much better.")).to_be_visible()
    page.go_back()
    expect(page.locator("#prompt")).to_contain_text("Name tree number 2.")
    page.get_by_role("button", name="B much better").click()
    expect(page.get_by_text("Saved: B much better.")).to_be_visible()
    assert kept() == [("preferred", "left", 3), ("preferred", "right", 3)]


def test_a_lapsed_lease_counts_while_its_place_is_free(garden: Desk, browser_page: Page, sign_in: SignIn) -> None:
    sign_in(browser_page, garden(2))
    browser_page.goto(PAGE)
    desk(browser_page)
    with open_session() as session:
        lapse(session, session.scalars(select(Assignment)).one())
    press(browser_page, "2")
    expect(browser_page.locator(".problem")).to_have_count(0)
    assert kept() == [("preferred", "left", 2)]


def test_a_lapsed_lease_that_somebody_else_has_says_so_and_goes_on(
    garden: Desk, browser_page: Page, sign_in: SignIn
) -> None:
    sign_in(browser_page, garden(2))
    browser_page.goto(PAGE)
    desk(browser_page)
    with open_session() as session:
        lapse(session, session.scalars(select(Assignment)).one())
        project = session.scalars(select(Project)).one()
        assert leases.claim(session, access_of(session, make_person(session, "bob", "annotator"), project))
    with expecting(browser_page, "Failed to load resource", "Response Status Error Code 410", "htmx:"):
        press(browser_page, "2")
    expect(browser_page.get_by_role("alert").first).to_contain_text("somebody else has this comparison now")
    expect(browser_page.locator("#prompt")).to_contain_text("Name tree number 2.")
    assert kept() == []


def test_a_server_that_starts_again_gets_what_was_chosen_meanwhile(
    garden: Desk, open_page: Open, sign_in: SignIn
) -> None:
    server = Server()
    try:
        page = open_page(base_url=server.url)
        page.set_default_timeout(60_000)  # a server that has just started takes its time over the first page
        sign_in(page, garden(2))
        wait_for(server)
        page.goto(PAGE)
        first = desk(page)
        # A sign of life may be under way while the answer goes out again; it then hears that the pair is answered.
        with expecting(page, "Failed to load resource", "htmx:"):
            server.kill()
            page.keyboard.press("3")
            expect(page.get_by_role("alert")).to_contain_text("Not sent")
            server.process = server.start()
            wait_for(server)
            page.keyboard.press("Enter")
            expect(page.locator(f"#desk[data-assignment='{first}']")).to_have_count(0, timeout=30_000)
            desk(page)
            assert kept() == [("preferred", "left", 1)]
            page.goto("about:blank")
    finally:
        server.kill()


def wait_for(server: Server) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{server.url}/healthz", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


def test_what_was_begun_survives_a_reload_and_is_forgotten_once_sent(
    garden: Desk, browser_page: Page, sign_in: SignIn
) -> None:
    sign_in(browser_page, garden(2, rationale="required", criteria=["warm"]))
    browser_page.goto(PAGE)
    first = desk(browser_page)
    browser_page.keyboard.press("f")
    browser_page.get_by_label("Broken or cut off").check()
    browser_page.keyboard.press("Escape")
    browser_page.get_by_role("group", name="warm").get_by_label("B").check()
    browser_page.keyboard.press("6")
    browser_page.keyboard.type("It rhymes, but")
    browser_page.reload()
    assert desk(browser_page) == first
    expect(browser_page.locator(".saved")).to_have_text("What you had begun is back: it was never sent.")
    expect(browser_page.get_by_role("button", name="Send: B better")).to_be_visible()
    expect(browser_page.locator("summary", has_text="Flag").locator(".count")).to_have_text("1")
    browser_page.keyboard.press("r")
    reason = browser_page.get_by_label("In a few words: why?")
    expect(reason).to_have_value("It rhymes, but")
    reason.press("Enter")
    expect(browser_page.locator(f"#desk[data-assignment='{first}']")).to_have_count(0)
    with open_session() as session:
        answer = session.scalars(select(Answer)).one()
        assert (answer.rationale, answer.flags, list(answer.criteria)) == ("It rhymes, but", ["broken"], ["warm"])
    assert browser_page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('draft:'))") == []
    expect(browser_page.locator("[data-reason-text]")).to_have_value("")
