"""Two things at the same moment: promotions, a promotion and a lease, two workers on one run."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.checkpoints import checkpoints
from app.database import open_session
from app.models import Assignment, Checkpoint, Comparison, Project, Run, User, now
from app.runs import due, fence, runs
from tests.at_once import while_open
from tests.pairs import make_answer, make_checkpoint, make_comparison, make_prompt
from tests.people import make_person, make_project

LONG = now().replace(year=2100)


@pytest.fixture
def project(committed: None) -> int:
    with open_session() as session:
        return make_project(session).id


def test_two_promotions_at_once_leave_one_in_front(project: int) -> None:
    with open_session() as session:
        garden = session.get_one(Project, project)
        ids = [make_checkpoint(session, garden, "policy").id for _ in range(2)]

    def promote(number: int) -> object:
        return lambda session: checkpoints.promote(session, None, session.get_one(Checkpoint, ids[number]))

    while_open(promote(0), promote(1))  # type: ignore[arg-type]
    with open_session() as session:
        statuses = session.scalars(select(Checkpoint.status).order_by(Checkpoint.id)).all()
    assert list(statuses) == ["retired", "promoted"]


def test_a_pair_that_is_being_claimed_is_not_withdrawn(project: int) -> None:
    with open_session() as session:
        garden = session.get_one(Project, project)
        pair = make_comparison(session, make_prompt(session, garden)).id
        policy, alice = make_checkpoint(session, garden, "policy").id, make_person(session, "alice", "annotator").id

    def claim(session: Session) -> None:
        session.execute(select(Comparison.id).where(Comparison.id == pair).with_for_update(skip_locked=True))
        lease = {"leased_until": LONG, "claimed_at": now(), "shown_left": "a"}
        session.add(Assignment(project_id=project, comparison_id=pair, user_id=alice, **lease))
        session.flush()

    while_open(claim, lambda session: checkpoints.promote(session, None, session.get_one(Checkpoint, policy)))
    with open_session() as session:
        assert session.get_one(Comparison, pair).status == "waiting"


def test_two_answers_at_once_start_one_chain_and_one_refill(project: int) -> None:
    with open_session() as session:
        garden = session.get_one(Project, project)
        garden.retraining = {"every": 1}
        prompt = make_prompt(session, garden)
        pairs = [make_comparison(session, prompt, status="complete").id for _ in range(2)]
        alice = make_person(session, "alice", "annotator").id

    def answer(pair: int) -> object:
        def give(session: Session) -> None:
            make_answer(session, session.get_one(Comparison, pair), session.get_one(User, alice))
            due.after_answer(session, session.get_one(Project, project))

        return give

    while_open(answer(pairs[0]), answer(pairs[1]))  # type: ignore[arg-type]
    with open_session() as session:
        counted = dict(session.execute(select(Run.kind, func.count()).group_by(Run.kind)).all())
    assert counted == {"chain": 1, "reward": 1, "sample": 1}


def test_a_run_that_a_worker_holds_is_only_asked_to_end(project: int) -> None:
    with open_session() as session:
        run = Run(project_id=project, kind="reward", status="running")
        session.add(run)
    with fence.hold(run.id) as mine, open_session() as session:
        assert mine is not None
        with fence.hold(run.id) as twin:
            assert twin is None
        assert runs.cancel(session, session.get_one(Run, run.id)).status == "running"
    with open_session() as session:
        assert session.get_one(Run, run.id).cancel_requested_at is not None
        assert runs.cancel(session, session.get_one(Run, run.id)).status == "cancelled"
