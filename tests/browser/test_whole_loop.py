"""The whole loop in a real browser on the real stack (`tiny`): from the first link to a chat with the trained model."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import load_dataset
from playwright.sync_api import Page, expect

from tests.directories import short_directory
from tests.setup.test_up import Up, free_port

pytestmark = pytest.mark.browser

PROJECT = "/projects/first-project"
A_CHAIN = 120_000  # ms; promised are 60 s on a machine that does nothing else


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """`pairloop up` in an empty directory, as a new user has it."""
    with short_directory() as directory:
        up = Up(directory / "data", free_port())
        try:
            yield up
        finally:
            up.stop()


def test_a_person_s_own_choices_train_the_model_that_writes_the_next_pair(
    up: Up, browser_page: Page, tmp_path: Path
) -> None:
    page = browser_page
    page.set_default_timeout(30_000)

    # 1. The one-time link makes the first account and signs it in.
    (link,) = re.findall(rf"{re.escape(up.url)}/invitations/\S+", up.wait_for_address())
    page.goto(link)
    page.get_by_label("E-mail address").fill("alice@example.org")
    page.get_by_label("Password").fill("a long enough password")
    page.get_by_role("button", name="Make account").click()
    expect(page.get_by_role("heading", name="First project")).to_be_visible()

    # 2. Ten pairs, one key each.
    page.get_by_role("link", name="Start labelling").click()
    expect(page.get_by_role("heading", name="The guidelines come first")).to_be_visible()
    page.locator("#desk.first[data-ready]").wait_for()  # a key pressed before its script is there does nothing
    page.keyboard.press("Enter")
    for key in "1726351477":
        label_one(page, key)

    # 3. The whole chain, past the gates: ten answers prove nothing.
    page.goto(f"{up.url}{PROJECT}/runs")
    form = page.locator("form:has(input[name=kind][value=chain])")
    form.locator("xpath=ancestor::details").evaluate("details => { details.open = true; }")
    form.locator("input[name=force]").check()
    form.get_by_role("button").last.click()
    expect(page.locator("h1 .status")).to_have_attribute("data-status", "succeeded", timeout=A_CHAIN)

    # 4. The chain promoted a policy.
    page.goto(f"{up.url}{PROJECT}/checkpoints")
    assert page.locator(".status[data-status=promoted]").count() == 2, "a reward model and a policy are in use"

    # 5. The next pair was written by it, which the page does not tell; the raw export does.
    page.goto(f"{up.url}{PROJECT}/label")
    label_one(page, "1")
    rows = load_dataset("json", data_files=str(export(page, up, tmp_path)), split="train", cache_dir=str(tmp_path))
    written = [set(row["checkpoints"]) - {None} for row in rows]
    assert len(rows) == 11
    assert not any(written[:10]), "the base model wrote the first ten"
    assert written[10], "the trained policy wrote the eleventh"

    # 6. It also answers in the chat.
    page.goto(f"{up.url}{PROJECT}/chat")
    expect(page.get_by_text(re.compile(r"You are talking with checkpoint \d+"))).to_be_visible()
    page.get_by_label("Your message").fill("Hello there")
    page.get_by_label("Your message").press("Enter")
    expect(page.locator(".turn.assistant .prose")).to_be_visible(timeout=60_000)
    page.reload()
    expect(page.locator(".turn")).to_have_count(2)


def label_one(page: Page, key: str) -> None:
    """Answer the pair on the screen with one key and wait until the next one (or none) stands there."""
    desk = page.locator("#desk[data-assignment][data-ready]")
    before = desk.get_attribute("data-assignment", timeout=60_000)
    page.keyboard.press(key)
    expect(page.locator(f"#desk[data-assignment='{before}']")).to_have_count(0)


def export(page: Page, up: Up, directory: Path) -> Path:
    """Make a raw export by hand and download it."""
    page.goto(f"{up.url}{PROJECT}/exports")
    page.get_by_label("Raw").check()
    page.get_by_role("button", name="Make the file").click()
    link = page.locator("table.exports a[download]")
    with page.expect_download() as download:
        link.click(timeout=60_000)
    target = directory / "raw.jsonl"
    download.value.save_as(target)
    return target
