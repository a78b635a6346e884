"""Promotion, retirement and going back: one in front at a time, older pairs withdrawn, everything recorded."""

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.checkpoints import checkpoints
from app.errors import Conflict
from app.models import Assignment, Checkpoint, Comparison, Project, Promotion, User, now
from tests.pairs import make_checkpoint, make_comparison, make_prompt
from tests.people import bearer, make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def olga(session: Session) -> User:
    return make_person(session, "olga", "operator")


@pytest.fixture
def access(project: Project, olga: User) -> Access:
    return Access(olga, project)


def statuses(session: Session) -> list[str]:
    session.expire_all()
    return list(session.scalars(select(Checkpoint.status).order_by(Checkpoint.id)))


def test_one_checkpoint_of_a_kind_is_in_front(session: Session, project: Project, access: Access, olga: User) -> None:
    first, second = make_checkpoint(session, project, "policy"), make_checkpoint(session, project, "policy")
    reward = make_checkpoint(session, project, "reward", "promoted")
    assert checkpoints.promoted(session, project.id, "policy") is None
    checkpoints.promote(session, access, first)
    checkpoints.promote(session, None, second)
    assert statuses(session) == ["retired", "promoted", "promoted"]
    assert checkpoints.promoted(session, project.id, "reward") is reward
    told = session.scalars(select(Promotion).order_by(Promotion.id)).all()
    assert [(row.checkpoint_id, row.previous_id, row.promoted_by_id) for row in told] == [
        (first.id, None, olga.id),
        (second.id, first.id, None),
    ]


def test_promoting_twice_changes_nothing(session: Session, project: Project, access: Access) -> None:
    policy = make_checkpoint(session, project, "policy")
    checkpoints.promote(session, access, policy)
    checkpoints.promote(session, access, policy)
    assert statuses(session) == ["promoted"]
    assert len(session.scalars(select(Promotion)).all()) == 1


def test_waiting_pairs_of_other_policies_that_nobody_holds_are_withdrawn(
    session: Session, project: Project, olga: User
) -> None:
    old, new = make_checkpoint(session, project, "policy", "promoted"), make_checkpoint(session, project, "policy")
    prompt = make_prompt(session, project)
    by_base, by_old, by_new = (make_comparison(session, prompt, policy=policy) for policy in (None, old, new))
    holdout = make_comparison(session, prompt, policy=old, purpose="holdout")
    answered = make_comparison(session, prompt, policy=old, status="complete")
    imported = make_comparison(session, prompt)
    imported.source = "import"
    held, dropped = make_comparison(session, prompt, policy=old), make_comparison(session, prompt, policy=old)
    alice = make_person(session, "alice", "annotator")
    for comparison, person, until in ((held, olga, 5), (dropped, alice, -5)):
        lease = {"project_id": project.id, "user_id": person.id, "shown_left": "a", "claimed_at": now()}
        session.add(Assignment(comparison_id=comparison.id, leased_until=now() + timedelta(minutes=until), **lease))
    session.flush()
    checkpoints.promote(session, None, new)
    session.expire_all()
    found = {one.id: one.status for one in session.scalars(select(Comparison))}
    withdrawn = [by_base.id, by_old.id, dropped.id, holdout.id]
    assert {id for id, status in found.items() if status == "withdrawn"} == set(withdrawn)
    assert {found[one.id] for one in (by_new, imported, held)} == {"waiting"}
    assert found[answered.id] == "complete"


def test_a_new_reward_model_withdraws_nothing(session: Session, project: Project) -> None:
    pair = make_comparison(session, make_prompt(session, project))
    checkpoints.promote(session, None, make_checkpoint(session, project, "reward"))
    session.expire_all()
    assert pair.status == "waiting"


def test_promotion_asks_for_new_pairs_in_its_own_transaction(session: Session, project: Project) -> None:
    checkpoints.promote(session, None, make_checkpoint(session, project, "policy"))
    jobs = session.execute(text("select task_name, args from jobs.procrastinate_jobs")).all()
    assert [tuple(job) for job in jobs] == [("refill", {"project_id": project.id})]


def test_retiring_the_policy_in_front_brings_the_base_model_back(
    session: Session, project: Project, access: Access
) -> None:
    policy = make_checkpoint(session, project, "policy")
    checkpoints.promote(session, access, policy)
    pair = make_comparison(session, make_prompt(session, project), policy=policy)
    for _ in range(2):
        checkpoints.retire(session, access, policy)
    assert statuses(session) == ["retired"]
    assert checkpoints.promoted(session, project.id, "policy") is None
    assert pair.status == "withdrawn"
    assert [row.checkpoint_id for row in session.scalars(select(Promotion).order_by(Promotion.id))] == [policy.id, None]


def test_going_back_puts_the_one_before_in_front(session: Session, project: Project, access: Access) -> None:
    with pytest.raises(Conflict):
        checkpoints.roll_back(session, access, "policy")
    first, second = make_checkpoint(session, project, "policy"), make_checkpoint(session, project, "policy")
    checkpoints.promote(session, access, first)
    assert checkpoints.roll_back(session, access, "policy") is None, "before it there was the base model"
    checkpoints.promote(session, access, first)
    checkpoints.promote(session, access, second)
    assert checkpoints.roll_back(session, access, "policy") is first
    assert statuses(session) == ["promoted", "retired"]


def test_the_api_lists_promotes_and_retires(client: TestClient, session: Session, project: Project, olga: User) -> None:
    headers = bearer(session, olga)
    reward = make_checkpoint(session, project, "reward", "promoted")
    policy = make_checkpoint(session, project, "policy")
    policy.reward_parent_id = reward.id
    policy.metrics = {"kl": 3.1}
    session.flush()
    url = "/api/v1/projects/garden/checkpoints"
    listed = client.get(url, headers=headers).json()
    assert [one["id"] for one in listed["items"]] == [str(policy.id), str(reward.id)]
    shown = listed["items"][0]
    assert (shown["kind"], shown["status"], shown["metrics"]) == ("policy", "candidate", {"kl": 3.1})
    assert shown["parents"] == {"policy": None, "reward": str(reward.id)}
    first = client.get(url, params={"limit": 1}, headers=headers).json()
    rest = client.get(url, params={"cursor": first["next"]}, headers=headers).json()
    assert ([one["id"] for one in rest["items"]], rest["next"]) == ([str(reward.id)], None)
    for _ in range(2):
        response = client.post(f"/api/v1/checkpoints/{policy.id}/promote", headers=headers)
        assert (response.status_code, response.json()["status"]) == (200, "promoted")
    assert client.post(f"/api/v1/checkpoints/{policy.id}/retire", headers=headers).json()["status"] == "retired"


def test_operators_alone_may(client: TestClient, session: Session, project: Project, olga: User) -> None:
    policy = make_checkpoint(session, project, "policy")
    url = f"/api/v1/checkpoints/{policy.id}/promote"
    for name, role in (("alice", "annotator"), ("bob", "admin"), ("mallory", None)):
        headers = bearer(session, make_person(session, name, *([role] if role else [])))
        assert client.post(url, headers=headers).status_code == 403
        assert client.get("/api/v1/projects/garden/checkpoints", headers=headers).status_code == 403
        for page in ("", f"/{policy.id}"):
            assert client.get(f"/projects/garden/checkpoints{page}", headers=headers).status_code == 403
    assert client.post(url).status_code == 401
    headers = bearer(session, olga)
    assert client.post("/api/v1/checkpoints/999/promote", headers=headers).status_code == 404
    assert policy.status == "candidate"
    project.restricted = True
    session.flush()
    assert client.post(url, headers=headers).status_code == 404


def test_a_checkpoint_is_not_shown_under_another_project(
    client: TestClient, session: Session, project: Project, olga: User
) -> None:
    other = make_checkpoint(session, make_project(session, "other"), "policy")
    headers = bearer(session, olga)
    assert client.get(f"/projects/garden/checkpoints/{other.id}", headers=headers).status_code == 404
    assert client.post(f"/projects/garden/checkpoints/{other.id}/promote", headers=headers).status_code == 404
    assert other.status == "candidate"


def test_the_pages_show_what_is_in_front_and_promote_with_a_plain_form(
    client: TestClient, session: Session, project: Project, olga: User
) -> None:
    headers = bearer(session, olga)
    page = client.get("/projects/garden/checkpoints", headers=headers)
    assert "The base model" in page.text
    policy = make_checkpoint(session, project, "policy")
    policy.metrics = {"win_rate": 0.68, "win_low": 0.594, "win_high": 0.76, "<b>odd</b>": 1}
    policy.gate = {"passed": False, "why": "It moved too far <script>.", "forced": True}
    session.flush()
    assert client.post(f"/projects/garden/checkpoints/{policy.id}/promote", headers=headers).status_code == 303
    page = client.get("/projects/garden/checkpoints", headers=headers)
    assert f"Checkpoint {policy.id}" in page.text
    assert "[59, 76]" in page.text
    assert "by Olga" in page.text
    card = client.get(f"/projects/garden/checkpoints/{policy.id}", headers=headers).text
    assert "It moved too far &lt;script&gt;." in card
    assert "&lt;b&gt;odd&lt;/b&gt;" in card
    back = client.post("/projects/garden/checkpoints/roll-back", data={"kind": "policy"}, headers=headers)
    assert back.status_code == 303
    assert statuses(session) == ["retired"]
