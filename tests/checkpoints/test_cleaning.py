"""Old files go by the project's policy, and never what is in use, referred to, or an ancestor of something kept."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from app.checkpoints import checkpoints, cleaning, trials
from app.errors import Conflict
from app.models import Checkpoint, Project, Run, now
from tests.pairs import make_checkpoint, make_comparison, make_prompt
from tests.people import make_project


@pytest.fixture
def project(session: Session) -> Project:
    made = make_project(session)
    made.keeping = {"days": 30, "newest": 1}
    return made


def old(session: Session, project: Project, kind: str = "policy", **fields: object) -> Checkpoint:
    made = make_checkpoint(session, project, kind)
    made.created_at = now() - timedelta(days=40)
    for name, value in fields.items():
        setattr(made, name, value)
    session.flush()
    return made


def taken(session: Session, project: Project) -> set[int]:
    urls = cleaning.take_out(session, project)
    session.expire_all()
    return {int(url.rsplit("/", 1)[1]) for url in urls}


def test_only_old_and_unused_ones_go(session: Session, project: Project) -> None:
    unused, retired = old(session, project), old(session, project, status="retired")
    in_use = old(session, project, status="promoted")
    young = make_checkpoint(session, project, "policy")
    newest_reward = old(session, project, "reward")
    assert taken(session, project) == {unused.run_id, retired.run_id}
    assert [one.removed_at is None for one in (unused, in_use, young, newest_reward)] == [False, True, True, True]
    assert taken(session, project) == set(), "once is enough"
    with pytest.raises(Conflict, match="cleaned up"):
        checkpoints.promote(session, None, unused)


def test_what_something_kept_was_made_from_stays(session: Session, project: Project) -> None:
    reward, grandparent = old(session, project, "reward"), old(session, project)
    parent = old(session, project, policy_parent_id=grandparent.id, reward_parent_id=reward.id)
    old(session, project, status="promoted", policy_parent_id=parent.id)
    other, _newest, _newest_reward = (old(session, project), old(session, project), old(session, project, "reward"))
    assert taken(session, project) == {other.run_id}


def test_what_going_back_runs_trials_and_waiting_pairs_need_stays(session: Session, project: Project) -> None:
    before, front = old(session, project), old(session, project)
    checkpoints.promote(session, None, before)
    checkpoints.promote(session, None, front)
    judged, tried, wrote, unused, _newest = (old(session, project) for _ in range(5))
    session.add(Run(project_id=project.id, kind="evaluate", params={"checkpoint": str(judged.id)}))
    trials.begin(session, tried, 10)
    make_comparison(session, make_prompt(session, project), policy=wrote)
    assert taken(session, project) == {unused.run_id}


def test_nothing_goes_where_the_project_does_not_say_when(session: Session, project: Project) -> None:
    project.keeping = {}
    old(session, project)
    old(session, project)
    assert taken(session, project) == set()


def test_packages_go_after_a_week_and_count_until_then(session: Session, project: Project) -> None:
    policy = old(session, project, status="promoted", bytes=1000)
    done = {"kind": "export", "status": "succeeded", "params": {"checkpoint": str(policy.id), "form": "merged"}}
    for days, size in ((8, 10), (6, 20)):
        result = {"package": {"url": "file:///x", "bytes": size}}
        moment = now() - timedelta(days=days)
        session.add(Run(project_id=project.id, result=result, finished_at=moment, **done))
    session.flush()
    assert cleaning.disk_use(session, project) == {"policy": 1000, "package": 30}
    assert len(taken(session, project)) == 1
    assert cleaning.disk_use(session, project)["package"] == 20
