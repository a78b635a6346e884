"""The label page as the browser tests use it: what is on the desk, one key, and what was stored."""

from playwright.sync_api import Page, expect
from sqlalchemy import select

from app.database import open_session
from app.models import Answer, Assignment

PAGE = "/projects/garden/label"


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
