"""A run's page by hand: one cursor for all curves, with the pointer and with keys, also while the page is live."""

import pytest
from playwright.sync_api import Page, expect

from app.database import open_session
from app.models import Run, RunMetric
from app.runs import live
from tests.browser.conftest import SignIn
from tests.people import make_person, make_project


@pytest.fixture
def run_id(database: None, browser_page: Page, sign_in: SignIn) -> int:
    """A PPO run of five updates that goes on; Olga is signed in."""
    with open_session() as session:
        project, olga = make_project(session), make_person(session, "olga", "operator")
        run = Run(
            project_id=project.id, kind="ppo", status="running", phase="ppo", done=5, total=9, message="Update 5."
        )
        session.add(run)
        session.flush()
        for step in range(1, 6):
            metrics = {"reward": step / 10, "kl": float(step), "entropy": 3 - step / 10}
            session.add(RunMetric(run_id=run.id, phase="ppo", step=step, metrics=metrics))
        session.flush()
    sign_in(browser_page, olga)
    return run.id


def test_one_cursor_for_all_curves(browser_page: Page, run_id: int) -> None:
    page = browser_page
    page.goto(f"/projects/garden/runs/{run_id}")
    curves = page.locator("#curves-ppo")
    values = curves.locator(".cursor.value")

    # The middle of the first curve is update 3, in all of them; x 128 of 320.
    box = curves.locator("svg").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 128 / 320, box["y"] + 40)
    expect(values).to_have_text(["0.3", "3", "2.7"])
    expect(curves.locator(".cursor.at")).to_have_text(["3", "3", "3"])
    page.mouse.move(5, 5)
    expect(values).to_have_count(0)

    # The same with keys; it stays through a live update and Escape takes it away.
    curves.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(values).to_have_text(["0.4", "4", "2.6"])
    with open_session() as session:
        run = session.get_one(Run, run_id)
        run.message = "Something new."
        session.add(RunMetric(run_id=run_id, phase="ppo", step=6, metrics={"reward": 0.6, "kl": 6.5, "entropy": 2.4}))
        live.announce(session, run.project_id)
    expect(page.get_by_text("Something new.")).to_be_visible()
    expect(values).to_have_text(["0.4", "4", "2.6"])
    expect(curves).to_be_focused()
    page.keyboard.press("End")
    expect(values).to_have_text(["0.6", "6.5", "2.4"])
    page.keyboard.press("Escape")
    expect(values).to_have_count(0)
