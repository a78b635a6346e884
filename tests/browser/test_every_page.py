"""axe finds nothing on any page of the product, each with content on it, in light and in dark."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page
from sqlalchemy.orm import Session

from app.accounts import invitations, sign_in_links, tokens
from app.database import open_session
from app.datasets import snapshots
from app.datasets.filters import Filters
from app.main import app
from app.models import (
    Chat,
    Export,
    GuidelineVersion,
    Project,
    Response,
    Run,
    RunMetric,
    User,
    now,
)
from tests.browser.axe import nothing_wrong
from tests.browser.conftest import Open, SignIn, expecting
from tests.live_head.scene import add_answers, fit_now
from tests.pairs import make_checkpoint, make_comparison, make_prompt
from tests.people import make_person, make_project
from tests.quality.scene import say

NO_PAGES = (
    r"/live$|/wrong-lines$|^/v1/|^/api/|^/(healthz|readyz|metrics)$|/exports/\{"
    r"|/how-it-learns/scores$|/prompts/imports/\{run_id\}$|/data$|\.(\{format\}|txt)$|/packages/\{"
)
"""Addresses that answer with something else than a page of ours."""
METRICS = {"accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8, "win_rate": 0.6, "length": 40, "length_base": 30}


@pytest.fixture
def addresses(database: None) -> Callable[[], tuple[User, dict[str, str]]]:
    """Writes a project with content for every page; gives who may see all of it, and each route's address."""

    def write() -> tuple[User, dict[str, str]]:
        with open_session() as session:
            olga = make_person(session, "olga", "annotator", "admin", "operator")
            names = _write(session, olga)
        # Ids are of the room that they are in: {history id}.
        named = {path: re.sub(r"(\w+)/\{id\}", r"\1/{\1}", path) for path in pages()}
        named["/sign-in-links/{token}"] = "/sign-in-links/{link}"
        named["/projects/{slug}/snapshots/changes"] += "?old={sha256}&new={sha256}"
        return olga, {path: address.format(**names) for path, address in named.items()}

    return write


def pages() -> list[str]:
    """The path of every route that shows a page."""
    found = []
    for room in app.routes:
        if hasattr(room, "effective_route_contexts"):
            found += [route.path for route in room.effective_route_contexts() if "GET" in (route.methods or ())]
    return [path for path in found if not re.search(NO_PAGES, path)]


def _write(session: Session, olga: User) -> dict[str, str]:
    project = make_project(session)
    project.retraining = {"every": 50}
    project.labels_per_comparison = 2
    project.guidelines.append(
        GuidelineVersion(version=2, text="# Prefer\n\nthe **warmer** one.", written_by_id=olga.id)
    )
    bob = make_person(session, "bob", "annotator")
    add_answers(session, project, olga, 45)
    fit_now(session, project)
    answered = [make_comparison(session, make_prompt(session, project, f"Why {n}?")) for n in range(8)]
    mine = [say(session, one, olga, "a2", rationale="It is warmer.", flags=["broken"]) for one in answered]
    for number, one in enumerate(answered):
        say(session, one, bob, "b1" if number % 2 else "a3")
    make_comparison(session, make_prompt(session, project, "What waits?"))
    said = [{"role": "user", "content": "Hello, *you*"}, {"role": "assistant", "content": "# So\n\n`x` is $x^2$."}]
    chat = Chat(project_id=project.id, user_id=olga.id, messages=said)
    session.add(chat)
    session.flush()
    tokens.create_token(session, olga, "nightly import")
    response = session.query(Response).filter(Response.features.is_not(None)).first()
    assert response is not None
    return {
        "slug": project.slug,
        "link": sign_in_links.reset(session, olga, bob),
        "token": invitations.invite(session, olga, ["annotator"]).rpartition("/")[2],
        "person_id": str(bob.id),
        "chat_id": str(chat.id),
        "response_id": str(response.id),
        "history": str(mine[0].id),
        "comparisons": str(answered[1].id),
        "annotators": str(bob.id),
        **_train(session, project),
    }


def _train(session: Session, project: Project) -> dict[str, str]:
    """Runs in every state, models, a snapshot and an export."""
    snapshot = snapshots.take(session, project, Filters())
    reward = make_checkpoint(session, project, "reward", "promoted")
    policy = make_checkpoint(session, project, "policy")
    reward.metrics, policy.metrics, reward.snapshot_id = METRICS, METRICS, snapshot.id
    session.add(Run(project_id=project.id, kind="chain", status="failed", error="61 % [48, 72]"))
    for kind, status in (("sample", "running"), ("evaluate", "cancelled"), ("dpo", "queued")):
        session.add(Run(project_id=project.id, kind=kind, status=status))
    run = Run(project_id=project.id, kind="ppo", status="running", phase="ppo", done=3, total=16, started_at=now())
    run.message, run.samples = "Update 3 of 16.", [{"prompt": "Why?", "before": "A tree.", "after": "A big tree."}]
    exported = Run(project_id=project.id, kind="export", status="succeeded", finished_at=now())
    session.add_all([run, exported])
    session.flush()
    for step in range(1, 5):
        session.add(RunMetric(run_id=run.id, phase="ppo", step=step, metrics={"reward": step / 4, "kl": step / 2}))
    file = {"url": "file:///e", "sha256": "cd" * 32, "bytes": 9, "rows": 8, "layout": "preference", "format": "jsonl"}
    manifest = {"file": "garden-preference.jsonl", "snapshot": {"sha256": snapshot.sha256}}
    session.add(Export(project_id=project.id, run_id=exported.id, snapshot_id=snapshot.id, manifest=manifest, **file))
    session.flush()
    return {"run_id": str(run.id), "checkpoint_id": str(policy.id), "sha256": snapshot.sha256}


SEEN = ("color-contrast", "scrollable-region-focusable", "link-in-text-block")
"""Rules about what depends on the colour scheme and on the width."""


def test_axe_finds_nothing(addresses: Callable[[], Any], open_page: Open, sign_in: SignIn) -> None:
    olga, every = addresses()
    assert len(every) > 25, "the routes were not found, so nothing was checked"
    page = open_page()
    page.context.set_default_timeout(60_000)  # some thirty pages one after the other, whatever else the machine does
    by_strangers = ("/sign-in", "/invitations/{token}", "/sign-in-links/{token}")
    wrong = [_wrong(page, every.pop(address)) for address in by_strangers]
    sign_in(page, olga)
    refused = ("/invitations/nothing", "/projects/nothing", every.pop("/projects/{slug}/runs/compare"))
    wrong += [_wrong(page, address) for address in (*every.values(), "/projects/garden/history?search=nothing")]
    with expecting(page, "Failed to load resource"):
        wrong += [_wrong(page, address) for address in refused]
    assert not any(wrong), "\n".join(wrong)


def _wrong(page: Page, address: str) -> str:
    """What is wrong with a page, with everything that unfolds unfolded; empty where nothing is."""
    try:
        page.set_viewport_size({"width": 1440, "height": 900})
        page.emulate_media(color_scheme="light")
        page.goto(address, wait_until="domcontentloaded")
        page.evaluate("for (const one of document.querySelectorAll('details:not(.panel)')) one.open = true")
        nothing_wrong(page, address)
        page.set_viewport_size({"width": 360, "height": 740})
        page.emulate_media(color_scheme="dark")
        nothing_wrong(page, f"{address}, dark and narrow", *SEEN)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{address} scrolls sideways"
    except AssertionError as problem:
        return str(problem)
    return ""
