"""A candidate before people: its pairs are blind, its interval runs along, and the gate waits for it."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.checkpoints import checkpoints, intervals, trials
from app.errors import BadInput, Conflict
from app.models import Checkpoint, Comparison, Project, Prompt, Response, Run, Trial, User, now
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
        prompt = make_prompt(session, project, f"What is {number} of run {trial.run_id}?")
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


def test_a_decided_trial_is_not_begun_anew_but_goes_on_where_more_pairs_are_asked_for(
    session: Session, project: Project, candidate: Checkpoint, olga: User
) -> None:
    trial = trials.begin(session, candidate, 12)
    answered(session, trial, candidate, olga, won=7, lost=5)
    trials.conclude(session)
    first_run = trial.run_id
    assert trials.begin(session, candidate, 12) is trial
    assert (trial.status, trial.run_id) == ("lost", first_run)

    assert trials.begin(session, candidate, 30, promotes=True) is trial
    assert (trial.status, trial.wanted, session.get_one(Run, trial.run_id).done) == ("open", 30, 12)
    assert trial.run_id != first_run
    assert trials.conclude(session) == []  # 18 pairs are missing
    answered(session, trial, candidate, olga, won=18, lost=0)
    trials.conclude(session)
    # 25 of 30, the first twelve among them.
    assert (trial.status, candidate.metrics["people_pairs"], candidate.status) == ("won", 30.0, "promoted")
    assert (candidate.gate["passed"], [one["name"] for one in candidate.gate["checks"]]) == (True, ["people"])


def test_after_a_change_of_what_is_in_use_a_trial_is_begun_anew(
    session: Session, project: Project, candidate: Checkpoint
) -> None:
    first = trials.begin(session, candidate, 10)
    in_use = checkpoints.promote(session, None, make_checkpoint(session, project, "policy"))
    second = trials.begin(session, candidate, 10)
    assert (first.status, second.status, second.opponent_id) == ("ended", "open", in_use.id)


def test_an_evaluation_keeps_what_people_said_against_what_is_in_use_still(
    session: Session, project: Project, candidate: Checkpoint, olga: User
) -> None:
    def evaluated(passed: bool) -> tuple[bool, list[str]]:
        run = Run(project_id=project.id, kind="evaluate", params={"checkpoint": str(candidate.id)})
        session.add(run)
        session.flush()
        metrics = {"win_low": 0.6 if passed else 0.4, "win_rate": 0.7, "kl": 1.0}
        steps.trained(session, run, {"metrics": metrics, "gate": {**MADE, "passed": passed}})
        return candidate.gate["passed"], [one["name"] for one in candidate.gate["checks"]]

    trial = trials.begin(session, candidate, 12)
    answered(session, trial, candidate, olga, won=6, lost=6)
    trials.conclude(session)
    assert evaluated(True) == (False, ["win_rate", "unspoilt", "people"])
    assert candidate.gate["why"] == "People did not clearly prefer it: 50 % [25, 75] of 12 pairs."
    assert evaluated(False)[0] is False
    checkpoints.promote(session, None, make_checkpoint(session, project, "policy"))
    assert evaluated(True) == (True, ["win_rate", "unspoilt"])


def test_a_trial_whose_writing_failed_waits_and_goes_on_when_that_is_started_again(
    session: Session, project: Project, candidate: Checkpoint, olga: User
) -> None:
    trial = trials.begin(session, candidate, 12)
    answered(session, trial, candidate, olga, won=3, lost=0)
    failed = session.get_one(Run, trial.run_id)
    failed.status = "failed"
    assert trials.conclude(session) == []
    again = runs.retry(session, failed, olga)
    assert (trial.run_id, again.params, again.retry_of_id, again.done) == (again.id, failed.params, failed.id, 3)
    assert trials.tally(session, trial).answered == 3
    with pytest.raises(Conflict, match="Another run"):
        runs.retry(session, failed, olga)
    again.status = "cancelled"
    checkpoints.promote(session, None, make_checkpoint(session, project, "policy"))
    with pytest.raises(Conflict, match="has changed since"):
        runs.retry(session, again, olga)


def test_pairs_that_an_ended_trial_took_back_wait_again_when_it_goes_on(
    session: Session, project: Project, candidate: Checkpoint, olga: User
) -> None:
    trial = trials.begin(session, candidate, 12)
    run = session.get_one(Run, trial.run_id)
    pairs = [make_comparison(session, make_prompt(session, project, f"{n}"), purpose="evaluation") for n in range(2)]
    for pair in pairs:
        pair.run_id = run.id
    session.flush()
    trials.end(session, trial)
    run.status = "cancelled"
    session.get_one(Prompt, pairs[1].prompt_id).withdrawn_at = now()
    again = runs.retry(session, run, olga)
    session.expire_all()
    assert [pair.status for pair in pairs] == ["waiting", "withdrawn"]
    assert (trial.status, again.done) == ("open", 1)


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
