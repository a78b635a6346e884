"""Whom an admin excluded stays out of new snapshots, counted there with the reason; what was taken before stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.datasets import snapshots
from app.datasets.filters import Filters
from app.models import Project, Standing, User, now
from tests.people import browse_as, make_project

if TYPE_CHECKING:
    from tests.datasets.scene import Scene


def exclude(session: Session, project: Project, person: User, why: str) -> Standing:
    standing = Standing(project_id=project.id, user_id=person.id, excluded_at=now(), excluded_because=why)
    session.add(standing)
    session.flush()
    return standing


def excluded(snapshot_card: dict) -> list[tuple[int, str]]:
    return [(one["answers"], one["why"]) for one in snapshot_card["exclusions"] if one["reason"] == "excluded"]


def taken(snapshot: object) -> set[str]:
    return {id for batch in snapshots.taken_rows(snapshot, ["answer"]) for id in batch["answer"].to_pylist()}


def test_a_new_snapshot_leaves_the_excluded_out_and_says_why(session: Session, scene: Scene) -> None:
    before = snapshots.take(session, scene.project, Filters())
    exclude(session, scene.project, scene.alice, "answered <without> reading")
    after = snapshots.take(session, scene.project, Filters())
    hers = {str(answer.id) for answer in scene.answers if answer.user_id == scene.alice.id}
    assert len(hers) == 3
    assert taken(before) - taken(after) == hers
    assert excluded(after.manifest) == [(3, "An admin excluded an annotator: answered <without> reading")]
    assert excluded(before.manifest) == []


def test_several_reasons_are_counted_apart(session: Session, scene: Scene) -> None:
    exclude(session, scene.project, scene.alice, "too fast")
    exclude(session, scene.project, scene.bob, "a bot")
    card = snapshots.take(session, scene.project, Filters()).manifest
    assert excluded(card) == [
        (1, "An admin excluded an annotator: a bot"),
        (3, "An admin excluded an annotator: too fast"),
    ]
    # Alice's three, Bob's one, and the simulated annotator's: nothing is counted twice or lost.
    assert card["answers"] + sum(one["answers"] for one in card["exclusions"]) == len(scene.answers)


def test_an_exclusion_ends_and_is_of_one_project(session: Session, scene: Scene) -> None:
    whole = snapshots.take(session, scene.project, Filters())
    exclude(session, make_project(session, "meadow"), scene.alice, "too fast")
    standing = exclude(session, scene.project, scene.alice, "too fast")
    assert snapshots.take(session, scene.project, Filters()).sha256 != whole.sha256
    standing.excluded_at = standing.excluded_because = None
    session.flush()
    assert snapshots.take(session, scene.project, Filters()).sha256 == whole.sha256


def test_the_snapshots_page_says_it(client: TestClient, session: Session, scene: Scene) -> None:
    exclude(session, scene.project, scene.alice, "answered <without> reading")
    snapshot = snapshots.take(session, scene.project, Filters())
    shown = browse_as(client, session, scene.bob).get(f"/projects/garden/snapshots/{snapshot.sha256}").text
    assert "An admin excluded an annotator: answered &lt;without&gt; reading" in shown
