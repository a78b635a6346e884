"""Where a project asks uncertain pairs first, each refit says how much its heads disagree about the pairs that wait."""

from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import open_session
from app.live_head.heads import Head
from app.models import Comparison, Project, Prompt, User
from app.projects import projects
from app.projects.schemas import ProjectChanges
from tests.live_head.scene import FEATURES, add_answers, add_response
from tests.people import make_person, make_project
from workers.live_head import refit, uncertainty


@pytest.fixture
def project(committed: None) -> Iterator[Project]:
    with open_session() as session:
        project = make_project(session)
        project.sampling, project.labeling = {"stock": 0}, {"order": "uncertain"}
        add_answers(session, project, make_person(session, "alice", "annotator"), 60)
    refit._known.clear()
    yield project
    refit._known.clear()


def add_pair(session: Session, project: Project, away: float | None, purpose: str = "train") -> int:
    """A waiting pair whose responses stand so far apart in every feature; None: they were not read."""
    prompt = session.scalars(select(Prompt)).first()
    assert prompt is not None
    sides = [None if away is None else np.full(FEATURES, side * away / 2) for side in (1, -1)]
    a, b = (add_response(session, prompt, f"{n} {away} {purpose}", side) for n, side in enumerate(sides))
    pair = Comparison(
        project_id=project.id,
        prompt_id=prompt.id,
        response_a_id=a.id,
        response_b_id=b.id,
        source="sample",
        purpose=purpose,
    )
    session.add(pair)
    session.flush()
    return pair.id


def uncertain(project: Project, *ids: int) -> list[float | None]:
    refit.refit(project.id)
    with open_session() as session:
        return [session.get_one(Comparison, one).uncertainty for one in ids]


def test_it_is_the_deviation_of_the_heads_probabilities() -> None:
    zero, one = np.zeros(1), np.ones(1)
    # Two heads with the weights 0 and ln 3: of a difference of 1 they say 1/2 and 3/4, which is 1/8 from their mean.
    head = Head(
        centre=zero, scale=one, weights=one, ensemble=np.array([[0.0], [np.log(3.0)]]), spread=np.array(2.0),
        ridge=one, answers=np.zeros(0, np.int64), slopes=zero, curves=zero, prior=zero,
    )  # fmt: skip
    found = uncertainty.disagreement(head, np.array([[1.0], [5.0]]), np.array([[0.0], [5.0]]))
    assert found == pytest.approx([0.125, 0.0])


def test_pairs_that_can_be_read_get_one_and_equal_ones_the_least(project: Project) -> None:
    with open_session() as session:
        equal, apart, unread = (add_pair(session, project, away) for away in (0.0, 1.0, None))
    none, some, nothing = uncertain(project, equal, apart, unread)
    assert none == 0.0
    assert some is not None
    assert some > 0.01
    assert nothing is None


def test_a_held_out_pair_s_place_has_nothing_to_do_with_what_the_head_thinks_of_it(project: Project) -> None:
    with open_session() as session:
        train = [add_pair(session, project, away) for away in (0.0, 0.3, 0.6, 1.0)]
        held_out = [add_pair(session, project, 2.0, purpose) for purpose in ("holdout",) * 12]
        held_out += [add_pair(session, project, None, purpose) for purpose in ("holdout", "repeat", "evaluation")]
    values = uncertain(project, *train, *held_out)
    places = [min(range(4), key=lambda n: abs((values[n] or 0) - (value or 0))) for value in values[4:]]
    assert None not in values
    assert all(value in values[:4] for value in values[4:]), "drawn from the training pairs, unread or not"
    assert len(set(places)) > 1, "all read alike, and yet not all in one place"
    assert uncertain(project, *held_out) == values[4:], "the draw stays"


def test_oldest_first_it_is_left_alone_and_switching_back_forgets_it(project: Project) -> None:
    with open_session() as session:
        pair = add_pair(session, project, 1.0)
    assert uncertain(project, pair) != [None]
    with open_session() as session:
        bob = make_person(session, "bob", "admin")
        own = session.get_one(Project, project.id)
        projects.change(session, bob, own, ProjectChanges(labeling={"order": None}))
        assert session.get_one(Comparison, pair).uncertainty is None
    assert uncertain(project, pair) == [None]


def test_pairs_that_somebody_has_locked_are_not_waited_for(project: Project) -> None:
    with open_session() as session:
        one, two = (add_pair(session, project, 1.0) for _ in range(2))
    with open_session() as session:
        session.get_one(Comparison, one, with_for_update=True)
        assert session.scalars(select(User)).first() is not None
        assert uncertain(project, one, two)[0] is None
    assert None not in uncertain(project, one, two)


def test_answered_pairs_get_none(project: Project) -> None:
    with open_session() as session:
        pair = add_pair(session, project, 1.0)
        session.get_one(Comparison, pair).status = "complete"
    assert uncertain(project, pair) == [None]
