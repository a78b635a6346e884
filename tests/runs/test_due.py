"""What starts by itself: a chain after enough new answers, a refill when few pairs wait."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.models import Project, Run, User, now
from app.runs import due
from tests.pairs import make_answer, make_comparison, make_prompt
from tests.people import make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def alice(session: Session) -> User:
    return make_person(session, "alice", "annotator")


def runs(session: Session, kind: str) -> list[Run]:
    return list(session.scalars(select(Run).where(Run.kind == kind).order_by(Run.id)))


def label(session: Session, project: Project, person: User, n: int, verdict: str = "tie", source: str = "page") -> None:
    """Answer n new comparisons and ask after each one what is due."""
    for _ in range(n):
        prompt = make_prompt(session, project, f"Prompt {datetime.now().timestamp()} {n}")
        prompt.sampled = False
        make_answer(session, make_comparison(session, prompt, status="complete"), person, verdict, source=source)
        due.after_answer(session, project)


def test_a_chain_starts_at_every_nth_decisive_answer(session: Session, project: Project, alice: User) -> None:
    project.retraining = {"every": 3}
    label(session, project, alice, 2)
    label(session, project, alice, 4, verdict="skipped")
    label(session, project, alice, 4, source="import")
    assert runs(session, "chain") == []
    label(session, project, alice, 1)
    (chain,) = runs(session, "chain")
    assert (chain.trigger, chain.status) == ("labels", "queued")
    (step,) = runs(session, "reward")
    assert step.parent_id == chain.id
    others = "select task_name, queue_name, args from jobs.procrastinate_jobs where task_name <> 'live_head'"
    jobs = session.execute(text(others)).all()
    assert [tuple(job) for job in jobs] == [("train", "train", {"run_id": step.id})]


def test_it_counts_from_the_last_training_on_and_starts_no_second_chain_beside_one(
    session: Session, project: Project, alice: User
) -> None:
    project.retraining = {"every": 3}
    label(session, project, alice, 7)
    (first,) = runs(session, "chain")
    assert due.new_answers(session, project.id) == 4
    first.status = "failed"
    session.flush()
    label(session, project, alice, 1)
    assert [run.trigger for run in runs(session, "chain")] == ["labels", "labels"]
    assert due.new_answers(session, project.id) == 0


def test_without_a_retraining_policy_nothing_starts(session: Session, project: Project, alice: User) -> None:
    label(session, project, alice, 30)
    assert runs(session, "chain") == []


def test_the_stock_is_refilled_once_below_its_half(session: Session, project: Project) -> None:
    project.sampling = {"stock": 4}
    prompt = make_prompt(session, project)
    for purpose in ("train", "holdout", "gold", "evaluation"):
        make_comparison(session, prompt, purpose=purpose)
    assert due.stock_may_be_low(session, project) is None, "two of four wait: not below the half"
    session.execute(text("update comparisons set status = 'complete' where purpose = 'holdout'"))
    refill = due.stock_may_be_low(session, project)
    assert refill is not None
    assert (refill.kind, refill.trigger, refill.status) == ("sample", "stock", "queued")
    assert due.stock_may_be_low(session, project) is None, "one refill at a time"


def test_without_prompts_to_sample_nothing_is_refilled(session: Session, project: Project) -> None:
    prompt = make_prompt(session, project)
    prompt.sampled = False
    withdrawn = make_prompt(session, project, "Another?")
    withdrawn.withdrawn_at = now()
    session.flush()
    assert due.stock_may_be_low(session, project) is None


@pytest.mark.parametrize(("params", "starts"), [({}, False), ({"comparisons": 3}, True)])
def test_a_run_that_fills_the_stock_already_is_enough(
    session: Session, project: Project, params: dict[str, int], starts: bool
) -> None:
    make_prompt(session, project)
    session.add(Run(project_id=project.id, kind="sample", params=params))
    session.flush()
    assert (due.stock_may_be_low(session, project) is not None) == starts


@pytest.mark.parametrize(
    ("status", "done", "rests"), [("failed", 3, True), ("succeeded", 0, True), ("succeeded", 3, False)]
)
def test_a_refill_that_ended_badly_is_not_tried_again_at_once(
    session: Session, project: Project, status: str, done: int, rests: bool
) -> None:
    make_prompt(session, project)
    refill = due.stock_may_be_low(session, project)
    assert refill is not None
    refill.status, refill.done, refill.finished_at = status, done, now() - timedelta(seconds=20)
    session.flush()
    assert (due.stock_may_be_low(session, project) is None) == rests
    refill.finished_at = now() - due.REST - timedelta(seconds=1)
    session.flush()
    if rests:
        assert due.stock_may_be_low(session, project) is not None


def test_an_archived_project_starts_nothing(session: Session, project: Project, alice: User) -> None:
    project.retraining = {"every": 1, "cron": "* * * * *"}
    project.archived_at = now()
    make_prompt(session, project)
    label(session, project, alice, 2)
    assert due.chains_due(session) == []
    assert runs(session, "chain") + runs(session, "sample") == []


def test_a_cron_line_starts_one_chain_where_there_is_something_new(
    session: Session, project: Project, alice: User
) -> None:
    project.created_at = datetime(2026, 1, 1, tzinfo=UTC)
    lately = now() - timedelta(minutes=10)
    project.retraining = {"cron": f"{lately.minute} {lately.hour} * * *"}
    session.flush()
    assert due.chains_due(session) == [], "nothing new to learn from"
    label(session, project, alice, 1)
    (chain,) = due.chains_due(session)
    assert chain.trigger == "cron"
    chain.status = "succeeded"
    label(session, project, alice, 1)
    assert due.chains_due(session) == [], "this moment has had its chain"


def test_a_cron_moment_long_past_is_left_out(session: Session, project: Project, alice: User) -> None:
    project.created_at = datetime(2026, 1, 1, tzinfo=UTC)
    long_ago = now() - timedelta(hours=3)
    project.retraining = {"cron": f"{long_ago.minute} {long_ago.hour} * * *"}
    label(session, project, alice, 1)
    assert due.chains_due(session) == []
