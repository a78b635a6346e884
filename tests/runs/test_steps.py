"""What follows what in a chain, and what ends it."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.checkpoints import checkpoints
from app.models import Checkpoint, Project, Run, User
from app.runs import runs, steps

PASSED = {"passed": True, "why": "It tells people's choices apart."}
REFUSED = {"passed": False, "why": "The interval still includes chance: 61 % [48 %, 72 %]."}


def made(run: Run, gate: dict[str, object] = PASSED) -> dict[str, object]:
    """What a child would hand back."""
    checkpoint = {"checkpoint": {"url": f"file:///nowhere/{run.id}", "sha256": "00"}} if run.kind != "evaluate" else {}
    return {**checkpoint, "metrics": {f"of_{run.kind}": 0.7}, "gate": gate}


@pytest.fixture
def chain(session: Session, project: Project, olga: User, answered: None) -> Run:
    return runs.start(session, project, "chain", {"hyper": {"ppo": {"updates": 2}}}, olga)


def step_of(session: Session, chain: Run) -> Run:
    """The chain's newest step."""
    return runs.steps_of(session, chain)[-1]


def test_a_chain_goes_from_reward_to_new_pairs(session: Session, project: Project, chain: Run) -> None:
    reward = step_of(session, chain)
    steps.trained(session, reward, made(reward))
    scorer = checkpoints.promoted(session, project.id, "reward")
    assert scorer is not None
    assert scorer.run_id == reward.id

    ppo = step_of(session, chain)
    assert (ppo.kind, ppo.params) == ("ppo", {"hyper": {"updates": 2}, "reward": str(scorer.id)})
    steps.trained(session, ppo, made(ppo))
    assert checkpoints.promoted(session, project.id, "policy") is None, "a candidate until it was evaluated"

    evaluate = step_of(session, chain)
    candidate = session.scalars(select(Checkpoint).where(Checkpoint.kind == "policy")).one()
    assert (evaluate.kind, evaluate.params) == ("evaluate", {"checkpoint": str(candidate.id)})
    steps.trained(session, evaluate, made(evaluate))
    assert checkpoints.promoted(session, project.id, "policy") is candidate
    assert candidate.metrics == {"of_ppo": 0.7, "of_evaluate": 0.7}

    sample = step_of(session, chain)
    assert (sample.kind, chain.status) == ("sample", "queued")
    steps.succeeded(session, sample, {}, "8 pairs were written.")
    assert chain.status == "succeeded"
    assert len(runs.steps_of(session, chain)) == 4


@pytest.mark.parametrize("refusing", ["reward", "ppo", "evaluate"])
def test_a_closed_gate_ends_the_chain_with_its_sentence(
    session: Session, project: Project, chain: Run, refusing: str
) -> None:
    while (step := step_of(session, chain)).kind != refusing:
        steps.trained(session, step, made(step))
    steps.trained(session, step, made(step, REFUSED))
    assert (step.status, chain.status) == ("succeeded", "failed")
    assert chain.error is not None
    assert "61 % [48 %, 72 %]" in chain.error
    assert "go on past the gates" in chain.error
    assert step_of(session, chain) is step
    assert checkpoints.promoted(session, project.id, "policy") is None
    assert (checkpoints.promoted(session, project.id, "reward") is None) == (refusing == "reward")


def test_force_goes_past_every_gate_and_is_recorded(
    session: Session, project: Project, olga: User, answered: None
) -> None:
    chain = runs.start(session, project, "chain", {"force": True}, olga)
    while (step := step_of(session, chain)).kind != "sample":
        steps.trained(session, step, made(step, REFUSED))
        assert "forced" in step.message
    policy = checkpoints.promoted(session, project.id, "policy")
    assert policy is not None
    assert policy.gate == {**REFUSED, "forced": True}


def test_a_failed_step_ends_the_chain_with_its_sentence(session: Session, chain: Run) -> None:
    step = step_of(session, chain)
    steps.failed(session, step, "Memory ran out.")
    assert (step.status, step.error) == ("failed", "Memory ran out.")
    assert (chain.status, chain.error) == ("failed", "The step “reward model” failed: Memory ran out.")


def test_a_chain_cancelled_while_its_step_ended_makes_no_further_step(session: Session, chain: Run) -> None:
    step = step_of(session, chain)
    chain.cancel_requested_at = chain.created_at
    session.flush()
    steps.trained(session, step, made(step))
    assert (step.status, chain.status) == ("succeeded", "cancelled")
    assert step_of(session, chain) is step


def test_a_single_run_starts_nothing_after_it(session: Session, project: Project, olga: User, answered: None) -> None:
    run = runs.start(session, project, "reward", {}, olga)
    steps.trained(session, run, made(run))
    assert list(session.scalars(select(Run.id))) == [run.id]


def test_what_follows_is_enqueued_in_the_same_transaction(session: Session, chain: Run) -> None:
    step = step_of(session, chain)
    with session.begin_nested() as undone:
        steps.trained(session, step, made(step))
        undone.rollback()
    jobs = session.execute(text("select task_name, args from jobs.procrastinate_jobs")).all()
    assert [tuple(job) for job in jobs] == [("train", {"run_id": step.id})]
