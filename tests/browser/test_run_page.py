"""A run's page by hand: one cursor for all curves, with the pointer and with keys, also while the page is live."""

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

from app.database import open_session
from app.models import Run, RunMetric
from app.private_files import make_private_directory
from app.runs import live
from app.settings import settings
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


def box_of(curve: Locator) -> FloatRect:
    """Where it is; asked again where a live update puts a new one in its place at that very moment."""
    found = (curve.bounding_box() for _ in range(20))
    return next(box for box in found if box is not None)


def test_one_cursor_for_all_curves(browser_page: Page, run_id: int) -> None:
    page = browser_page
    page.goto(f"/projects/garden/runs/{run_id}")
    curves = page.locator("#curves-ppo")
    values = curves.locator(".cursor.value")

    # The middle of the first curve is update 3, in all of them; x 128 of 320.
    box = box_of(curves.locator("svg").first)
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


def test_the_form_says_what_is_wrong_while_it_is_filled_in(browser_page: Page, run_id: int) -> None:
    page = browser_page
    page.goto(f"/projects/garden/runs?like={run_id}#start")
    form = page.locator("form:has(input[name=kind][value=ppo])")
    expect(form.locator(".estimate")).to_contain_text("Nothing is known yet")
    form.locator("input[name='ppo.updates']").fill("0")
    expect(form.locator(".estimate.bad")).to_contain_text("updates must lie between 1 and")
    form.locator("input[name='ppo.updates']").fill("8")
    expect(form.locator(".estimate")).to_contain_text("Nothing is known yet")


def test_runs_are_ticked_and_compared_and_the_log_is_searched_while_typing(browser_page: Page, run_id: int) -> None:
    page = browser_page
    with open_session() as session:
        run = session.get_one(Run, run_id)
        session.add(Run(project_id=run.project_id, kind="ppo", status="failed", error="It broke."))
        place = settings.data_dir.resolve() / "artifacts" / "runs" / str(run_id)
        make_private_directory(place)
        (place / "log.txt").write_text("one\ntwo\nthree\n")
    page.goto("/projects/garden/runs")
    for box in page.get_by_role("checkbox", name="Compare run").all():
        box.check()
    page.get_by_role("button", name="Compare the ticked runs").click()
    expect(page.get_by_role("heading", name="Runs compared")).to_be_visible()
    expect(page.locator(".keys li")).to_have_count(2)
    page.goto(f"/projects/garden/runs/{run_id}/log")
    expect(page.locator("ol.log li")).to_have_text(["one", "two", "three"])
    page.get_by_label("Search the log").fill("T")
    expect(page.locator("ol.log li")).to_have_text(["two", "three"])
