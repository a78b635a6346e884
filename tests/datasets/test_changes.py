"""Snapshots in a list, two of them side by side, and who read one."""

import re
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.datasets import changes, snapshots
from app.datasets.filters import Filters
from app.models import Checkpoint, Run, Snapshot
from tests.datasets.scene import DAY, Scene
from tests.people import bearer, browse_as

PAGES = "/projects/garden/snapshots"


@pytest.fixture
def pair(session: Session, scene: Scene) -> tuple[Snapshot, Snapshot]:
    """Between them the first answer goes, the second is corrected, and the imported one comes."""
    old = snapshots.take(session, scene.project, Filters(until=DAY + timedelta(days=4)))
    corrected = scene.answers[1]
    corrected.verdict, corrected.preferred, corrected.strength, corrected.revision = "tie", None, None, 2
    new = snapshots.take(session, scene.project, Filters(since=DAY + timedelta(days=1)))
    return old, new


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", html))


def test_two_snapshots_are_compared(session: Session, scene: Scene, pair: tuple[Snapshot, Snapshot]) -> None:
    old, new = pair
    found = changes.between(session, old, new)
    assert (found["added"], found["removed"], found["revised"], found["unchanged"]) == (1, 1, 1, 2)
    assert found["first_revised"] == [{"answer": str(scene.answers[1].id), "revisions": [1, 2]}]
    assert found["verdicts"]["preferred"] == [2, 1]
    assert found["verdicts"]["tie"] == [1, 2]
    assert found["guideline_versions"] == {"1": [4, 3]}
    assert new.manifest["since_last"] == {
        "snapshot": old.sha256,
        "added": 1,
        "removed": 1,
        "revised": 1,
        "unchanged": 2,
    }
    assert "since_last" not in old.manifest


def test_the_pages_list_and_compare_them(
    client: TestClient, session: Session, scene: Scene, pair: tuple[Snapshot, Snapshot]
) -> None:
    old, new = pair
    browser = browse_as(client, session, scene.bob)
    listed = browser.get(PAGES).text
    assert listed.index(new.sha256[:12]) < listed.index(old.sha256[:12])
    for sides in ({"old": old.sha256, "new": new.sha256}, {"old": new.sha256, "new": old.sha256}):
        shown = text_of(browser.get(f"{PAGES}/changes", params=sides).text)
        assert f"From {old.sha256[:12]} to {new.sha256[:12]}" in shown
        assert "1 answers came, 1 went, 1 were corrected, 2 are the same in both." in shown
    same = {"old": old.sha256, "new": old.sha256}
    assert "one and the same" in browser.get(f"{PAGES}/changes", params=same).text
    assert browser.get(f"{PAGES}/changes").status_code == 404
    assert "came" in browser.get(f"{PAGES}/{new.sha256}").text
    alice = browse_as(client, session, scene.alice)
    assert alice.get(PAGES).status_code == alice.get(f"{PAGES}/changes", params=same).status_code == 403


def test_programs_list_and_compare_them(
    client: TestClient, session: Session, scene: Scene, pair: tuple[Snapshot, Snapshot]
) -> None:
    old, new = pair
    headers, path = bearer(session, scene.bob), "/api/v1/projects/garden/snapshots"
    first = client.get(path, params={"limit": 1}, headers=headers).json()
    assert [one["sha256"] for one in first["items"]] == [new.sha256]
    rest = client.get(path, params={"limit": 1, "cursor": first["next"]}, headers=headers).json()
    assert ([one["manifest"]["answers"] for one in rest["items"]], rest["next"]) == ([4], None)
    told = client.get(f"{path}/{new.sha256}/changes", params={"since": old.sha256}, headers=headers).json()
    assert told == changes.between(session, old, new)
    assert client.get(f"{path}/x/changes", params={"since": old.sha256}, headers=headers).status_code == 404
    assert client.get(path, headers=bearer(session, scene.alice)).status_code == 403


def test_a_snapshots_page_says_who_read_it(
    client: TestClient, session: Session, scene: Scene, pair: tuple[Snapshot, Snapshot]
) -> None:
    _, new = pair
    run = Run(project_id=scene.project.id, kind="reward", status="succeeded", snapshot_id=new.id)
    session.add(run)
    session.flush()
    made = Checkpoint(
        project_id=scene.project.id,
        kind="reward",
        base_model="tiny",
        run_id=run.id,
        url="x",
        sha256="y",
        snapshot_id=new.id,
    )
    session.add(made)
    session.flush()
    page = browse_as(client, session, scene.bob).get(f"{PAGES}/{new.sha256}").text
    assert f'href="/projects/garden/runs/{run.id}"' in page
    assert f'href="/projects/garden/checkpoints/{made.id}"' in page
