"""A candidate before people: its pairs are blind, its interval runs along, and the gate waits for it."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.checkpoints import checkpoints, intervals, trials
from app.errors import BadInput, Conflict
from app.models import Checkpoint, Comparison, Project, Response, Run, Trial, User
from app.runs import runs, steps
from tests.pairs import make_answer, make_checkpoint, make_comparison, make_prompt
from tests.people import make_person, make_project

MADE = {"passed": True, "why": "Good.", "forced": False}


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def olga(session: Session) -> User:
    return make_person(session, "olga", "operator", "annotator")


@pytest.fixture
def candidate(session: Session, project: Project) -> Checkpoint:
    return make_checkpoint(session, project, "policy")


def answered(
    session: Session, trial: Trial, candidate: Checkpoint, person: User, won: int, lost: int, tied: int = 0
) -> None:
    """Pairs of the trial in which the candidate is A in one half and B in the other, with a person's answers."""
    project = session.get_one(Project, trial.project_id)
    for number, said in enumerate(["won"] * won + ["lost"] * lost + ["tied"] * tied):
        prompt = make_prompt(session, project, f"What is {number} of trial {trial.id}?")
        pair = make_comparison(session, prompt, purpose="evaluation")
        pair.run_id, pair.source = trial.run_id, "evaluation"
        ours = pair.response_a if number % 2 else pair.response_b
        session.get_one(Response, ours.id).checkpoint_id = candidate.id
        answer = make_answer(session, pair, person, "tie" if said == "tied" else "preferred")
        if said != "tied":
            answer.preferred = "a" if (number % 2 == 1) == (said == "won") else "b"
    run = session.get_one(Run, trial.run_id)
    run.status, run.done = "succeeded", won + lost + tied
    session.flush()


def test_the_interval_is_wilsons() -> None:
    # 27 of 40: (0.675 + 3.8415/80) / (1 + 3.8415/40) = 0.6597, half 0.1418 around it.
    share, low, high = intervals.of_rates([1.0] * 27 + [0.0] * 13) or (0, 0, 0)
    assert (round(share, 3), round(low, 3), round(high, 3)) == (0.675, 0.52, 0.799)
    assert intervals.of_rates([]) is None
    assert intervals.of_rates([0.5] * 4)[0] == 0.5  # type: ignore[index]


def test_the_share_counts_the_candidate_on_either_side_and_a_tie_by_half(
    session: Session, project: Project, candidate: Checkpoint, olga: User
) -> None:
    trial = trials.begin(session, candidate, 10, access=Access(olga, project))
    answered(session, trial, candidate, olga, won=5, lost=2, tied=1)
    found = trials.tally(session, trial)
    assert (found.written, found.answered, found.share) == (8, 8, 5.5 / 8)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 5.5 / 8 < found.high


def test_asking_twice_is_one_trial_and_only_candidates_are_tried(
    session: Session, project: Project, candidate: Checkpoint, olga: User
) -> None:
    first = trials.begin(session, candidate, 10)
    assert trials.begin(session, candidate, 20) is first
    with pytest.raises(Conflict):
        trials.begin(session, make_checkpoint(session, project, "policy", "promoted"), 10)
    with pytest.raises(BadInput):
        trials.begin(session, candidate, 0)


def test_a_trial_that_is_won_promotes_where_that_was_the_wish(
    session: Session, project: Project, candidate: Checkpoint, olga: User
) -> None:
    trial = trials.begin(session, candidate, 12, promotes=True)
    answered(session, trial, candidate, olga, won=11, lost=0)
    assert trials.conclude(session) == [trial]
    assert (trial.status, candidate.status) == ("won", "promoted")
    assert candidate.metrics["people_rate"] == 1.0
    assert candidate.gate["checks"][-1]["name"] == "people"
    assert candidate.gate["passed"]


def test_a_trial_that_is_not_won_leaves_a_candidate_that_says_what_it_failed(
    session: Session, project: Project, candidate: Checkpoint, olga: User
) -> None:
    trial = trials.begin(session, candidate, 12, promotes=True)
    answered(session, trial, candidate, olga, won=6, lost=6)
    trials.conclude(session)
    assert (trial.status, candidate.status) == ("lost", "candidate")
    assert not candidate.gate["passed"]
    assert candidate.gate["why"] == "People did not clearly prefer it: 50 % [25, 75] of 12 pairs."


def test_a_trial_goes_on_while_pairs_are_missing_and_ends_when_what_is_in_use_changes(
    session: Session, project: Project, candidate: Checkpoint, olga: User
) -> None:
    trial = trials.begin(session, candidate, 12)
    answered(session, trial, candidate, olga, won=3, lost=0)
    session.get_one(Run, trial.run_id).status = "running"
    waiting = make_comparison(session, make_prompt(session, project, "One more"), purpose="evaluation")
    waiting.run_id = trial.run_id
    session.flush()
    assert trials.conclude(session) == []
    checkpoints.promote(session, None, make_checkpoint(session, project, "policy"))
    assert trials.conclude(session) == [trial]
    session.expire_all()
    assert (trial.status, waiting.status) == ("ended", "withdrawn")
    assert session.get_one(Run, trial.run_id).cancel_requested_at is not None


def test_a_chain_waits_for_people_where_the_gate_says_so(session: Session, project: Project, olga: User) -> None:
    project.gates = {"people": 12}
    make_answer(session, make_comparison(session, make_prompt(session, project), status="complete"), olga)
    chain = runs.start(session, project, "chain", {}, olga)
    for kind in ("reward", "ppo", "evaluate"):
        step = runs.steps_of(session, chain)[-1]
        assert step.kind == kind
        made = {"checkpoint": {"url": f"file:///nowhere/{step.id}", "sha256": "00"}} if kind != "evaluate" else {}
        steps.trained(session, step, {**made, "metrics": {}, "gate": MADE})
    policy = session.scalars(select(Checkpoint).where(Checkpoint.kind == "policy")).one()
    assert (chain.status, policy.status) == ("succeeded", "candidate")
    assert "waits until people have compared 12" in chain.message
    trial = session.scalars(select(Trial)).one()
    assert (trial.wanted, trial.promotes) == (12, True)
    answered(session, trial, policy, olga, won=12, lost=0)
    trials.conclude(session)
    assert checkpoints.promoted(session, project.id, "policy") is policy


def test_nothing_is_promoted_by_itself_where_the_project_says_so(
    session: Session, project: Project, olga: User
) -> None:
    project.gates = {"automatic": False}
    make_answer(session, make_comparison(session, make_prompt(session, project), status="complete"), olga)
    chain = runs.start(session, project, "chain", {}, olga)
    for kind in ("reward", "ppo", "evaluate"):
        step = runs.steps_of(session, chain)[-1]
        made = {"checkpoint": {"url": f"file:///nowhere/{step.id}", "sha256": "00"}} if kind != "evaluate" else {}
        steps.trained(session, step, {**made, "metrics": {}, "gate": MADE})
    assert checkpoints.promoted(session, project.id, "policy") is None
    assert "waits for somebody to promote it" in chain.message
    assert session.scalars(select(Comparison).where(Comparison.purpose == "evaluation")).all() == []
