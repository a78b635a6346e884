"""Filters are read from JSON, refused in a sentence, and written back."""

import pytest
from sqlalchemy.orm import Session

from app.datasets import snapshots
from app.datasets.filters import Filters
from app.datasets.pseudonyms import pseudonym
from app.errors import BadInput
from tests.datasets.scene import Scene
from tests.pairs import make_checkpoint


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ([], "filters must be an object"),
        ({"colour": 1}, "'colour' is not a filter"),
        ({"simulated": "yes"}, "simulated must be true or false"),
        ({"since": 2026}, "since must be a time"),
        ({"until": "tomorrow"}, "until must be a time"),
        ({"purposes": "train"}, "purposes must be a list"),
        ({"sources": ["page", "dream"]}, "sources must be a list"),
        ({"sources": [["page"]]}, "sources must be a list"),
    ],
)
def test_filters_that_make_no_sense_are_refused(chosen: object, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        Filters.from_json(chosen)


def test_filters_survive_their_json() -> None:
    filters = Filters.from_json(
        {"since": "2026-01-31", "until": "2026-02-01T00:00:00+09:00", "purposes": ["holdout", "train"], "sources": None}
    )
    assert filters.to_json() == {
        "simulated": False,
        "since": "2026-01-31T00:00:00+00:00",
        "until": "2026-01-31T15:00:00+00:00",
        "purposes": ["train", "holdout"],
    }
    assert Filters.from_json(filters.to_json()) == filters


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({"annotators": "annotator-1"}, "annotators must be a list"),
        ({"tags": ["a", 3]}, "tags must be a list"),
        ({"tags": ["\x00"]}, "NUL"),
        ({"checkpoints": ["latest"]}, "'latest' is none of them"),
        ({"agreement": 1.5}, "agreement must be a number from 0 to 1"),
        ({"agreement": True}, "agreement must be a number"),
        ({"agreement": "nan"}, "agreement must be a number"),
        ({"strength": 4}, "strength must be a number from 1 to 3"),
        ({"strength": 1.5}, "strength must be 1, 2 or 3"),
    ],
)
def test_narrower_filters_that_make_no_sense_are_refused(chosen: object, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        Filters.from_json(chosen)


def taken(session: Session, scene: Scene, **chosen: object) -> tuple[list[int], dict[str, int]]:
    """Which of the scene's answers a snapshot holds, by their place, and how many were left out why."""
    filters = Filters.from_json(chosen)
    assert Filters.from_json(filters.to_json()) == filters
    snapshot = snapshots.take(session, scene.project, filters)
    held = [answer for rows in snapshots.taken_rows(snapshot, ["answer"]) for answer in rows["answer"].to_pylist()]
    places = {str(answer.id): number for number, answer in enumerate(scene.answers)}
    return [places[id] for id in held], {one["reason"]: one["answers"] for one in snapshot.manifest["exclusions"]}


def test_each_filter_counts_what_it_leaves_out(session: Session, scene: Scene) -> None:
    policy = make_checkpoint(session, scene.project, "policy")
    scene.answers[2].comparison.response_a.checkpoint_id = policy.id
    scene.answers[3].comparison.response_a.checkpoint_id = policy.id
    scene.answers[3].comparison.response_b.checkpoint_id = policy.id
    scene.answers[1].comparison.prompt.tags = ["law", "hard"]
    session.flush()
    alice = pseudonym(scene.alice.id)
    assert taken(session, scene, annotators=[alice]) == ([0, 2, 3], {"simulated": 1, "annotators": 2})
    assert taken(session, scene, annotators=["annotator-0"]) == ([], {"simulated": 1, "annotators": 5})
    assert taken(session, scene, tags=["law", "ko"]) == ([1], {"simulated": 1, "tags": 4})
    assert taken(session, scene, checkpoints=[str(policy.id)]) == ([3], {"simulated": 1, "checkpoints": 4})
    assert taken(session, scene, checkpoints=["base"]) == ([0, 1], {"simulated": 1, "checkpoints": 3})
    assert taken(session, scene, checkpoints=["outside", "base"])[0] == [0, 1, 5]
    # A tie says nothing about strength and stays.
    assert taken(session, scene, strength=3) == ([1, 2, 3], {"simulated": 1, "strength": 2})
