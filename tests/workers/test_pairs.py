"""Pairs drawn through the real engine: different, stored with all that made them, on the page one by one."""

from collections import Counter

import pytest
from sqlalchemy import func, select, text

from app.checkpoints import checkpoints
from app.database import open_session
from app.models import Comparison, Project, Prompt, Response, User
from app.models.policies import Sampling
from app.runs import due, runs
from app.settings import settings
from tests.pairs import make_checkpoint, make_prompt
from tests.people import make_person, make_project
from tests.workers.worker import cancel, state, wait_until, work_until_idle, worker
from workers import pairs


@pytest.fixture
def project(committed: None) -> Project:
    with open_session() as session:
        project = make_project(session)
        project.sampling = {"max_tokens": 12, "stock": 6}
        make_person(session, "olga", "operator")
    return project


def add_prompts(project: Project, n: int, **more: object) -> None:
    with open_session() as session:
        for number in range(n):
            make_prompt(session, project, f"Question {number}?", **more)  # type: ignore[arg-type]


def start(project: Project, **params: object) -> int:
    with open_session() as session:
        olga = session.scalars(select(User)).one()
        return runs.start(session, session.get_one(Project, project.id), "sample", params, olga).id


def test_the_stock_is_filled_with_different_responses_from_the_least_used_prompts(
    project: Project, engine_url: str
) -> None:
    add_prompts(project, 4)
    run_id = start(project)
    work_until_idle()
    run = state(run_id)
    assert (run.status, run.done, run.message) == ("succeeded", 6, "6 pairs were written.")
    with open_session() as session:
        found = session.scalars(select(Comparison)).all()
        assert len(found) == 6
        for one in found:
            a, b = one.response_a, one.response_b
            assert a.text.strip() != b.text.strip()
            assert "" not in (a.text.strip(), b.text.strip())
            assert (one.source, one.purpose, one.status, one.run_id) == ("sample", "train", "waiting", run_id)
            for response in (a, b):
                assert (response.base_model, response.checkpoint_id, response.source) == ("tiny", None, "sample")
                assert response.sampling is not None
                assert set(response.sampling) == {"temperature", "top_p", "max_tokens", "seed"}
                assert response.prompt_token_ids
                assert response.token_ids
                assert 1 <= len(response.token_ids) <= 12
                assert response.finish_reason in ("stop", "length")
                # Mean, sum, last and words, 64 numbers each of two bytes.
                assert len(response.features or b"") == 4 * 64 * 2
                assert response.features_from == "tiny layer 1 mean+sum+last+words"
        assert Counter(session.scalars(select(Prompt.times_sampled))) == {1: 2, 2: 2}
        seeds = [response.sampling["seed"] for response in session.scalars(select(Response)) if response.sampling]
        assert len(set(seeds)) == 12


def test_a_number_of_pairs_is_made_whatever_the_stock(project: Project, engine_url: str) -> None:
    add_prompts(project, 1)
    start(project, comparisons=9)
    work_until_idle()
    with open_session() as session:
        assert session.scalar(select(func.count()).select_from(Comparison)) == 9


def test_pairs_for_held_out_prompts_are_for_testing_alone(project: Project, engine_url: str) -> None:
    add_prompts(project, 1, holdout=True)
    start(project, comparisons=1)
    work_until_idle()
    with open_session() as session:
        assert session.scalars(select(Comparison.purpose)).all() == ["holdout"]


def test_equal_responses_are_passed_over_and_in_the_end_given_up(project: Project, engine_url: str) -> None:
    add_prompts(project, 2)
    with open_session() as session:
        # A nucleus this small holds one token: every answer is the most likely one.
        narrow = {"temperature": 0.05, "top_p": 0.05, "full_distribution": 0, "max_tokens": 4}
        session.get_one(Project, project.id).sampling = narrow
    run_id = start(project)
    work_until_idle()
    run = state(run_id)
    assert run.status == "succeeded"
    assert "raise the temperature" in run.message
    assert pairs.DROPS_IN_A_ROW <= run.result["dropped"] < pairs.DROPS_IN_A_ROW + pairs.AT_ONCE
    with open_session() as session:
        assert session.scalar(select(Comparison.id)) is None


def test_a_prompt_that_is_too_long_is_withdrawn_with_the_reason(project: Project, engine_url: str) -> None:
    with open_session() as session:
        long = make_prompt(session, project, "word " * 400).id
    add_prompts(project, 1)
    run_id = start(project, comparisons=2)
    work_until_idle()
    run = state(run_id)
    assert (run.status, run.done) == ("succeeded", 2)
    (withdrawn,) = run.result["withdrawn"]
    assert withdrawn["prompt"] == str(long)
    assert "512" in withdrawn["why"]
    assert withdrawn["why"] in run.message
    with open_session() as session:
        assert session.get_one(Prompt, long).withdrawn_at is not None


def test_an_engine_that_is_down_is_waited_for(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "engine_url", "http://127.0.0.1:9")
    add_prompts(project, 1)
    run_id = start(project)
    work_until_idle()
    run = state(run_id)
    assert (run.status, run.attempt) == ("queued", 1)
    assert "Labelling goes on" in run.message
    with open_session() as session:
        later = (
            "select scheduled_at > now() from jobs.procrastinate_jobs where task_name = 'sample' and status = 'todo'"
        )
        assert session.scalars(text(later)).all() == [True]


def test_a_refused_checkpoint_fails_the_run_with_the_engines_sentence(project: Project, engine_url: str) -> None:
    add_prompts(project, 1)
    with open_session() as session:
        make_checkpoint(session, session.get_one(Project, project.id), "policy", "promoted")
    run_id = start(project)
    work_until_idle()
    run = state(run_id)
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.startswith("The language model refused: ")


def test_the_first_pair_is_there_before_the_last_and_cancelling_keeps_what_is_made(
    project: Project, engine_url: str
) -> None:
    add_prompts(project, 40)
    with open_session() as session:
        # No refill shall write pairs as well.
        session.get_one(Project, project.id).sampling = {"max_tokens": 12, "stock": 0}
    with worker():
        run_id = start(project, comparisons=5000)
        wait_until(lambda: state(run_id).done > 0)
        cancel(run_id)
        assert wait_until(lambda: state(run_id).status == "cancelled") < 2.0
    run = state(run_id)
    assert 0 < run.done < 5000
    with open_session() as session:
        assert session.scalar(select(func.count()).select_from(Comparison)) == run.done


def test_promotion_during_a_run_changes_who_writes(project: Project) -> None:
    """A pair of the policy that was in front when it was asked for is not stored behind a promotion."""
    add_prompts(project, 1)
    run_id = start(project)
    with open_session() as session:
        drawing = pairs.Drawing(run_id, None, lambda: None)
        (task,) = drawing._next_tasks(session, session.get_one(Project, project.id), 1)
        assert task.policy is None
        policy = make_checkpoint(session, session.get_one(Project, project.id), "policy")
        checkpoints.promote(session, None, policy)
    choices = tuple({"message": {"content": said}, "finish_reason": "stop"} for said in ("one", "two"))
    drawing._store(task, pairs.Pair(choices, None, ({}, {})))  # type: ignore[arg-type]
    with open_session() as session:
        assert session.scalar(select(Comparison.id)) is None
        (task,) = drawing._next_tasks(session, session.get_one(Project, project.id), 1)
    drawing._store(task, pairs.Pair(choices, None, ({}, {})))  # type: ignore[arg-type]
    with open_session() as session:
        assert session.scalars(select(Response.checkpoint_id)).all() == [policy.id, policy.id]


def test_adding_prompts_fills_the_stock_by_itself(project: Project, engine_url: str) -> None:
    add_prompts(project, 3)
    with open_session() as session:
        refill = due.stock_may_be_low(session, session.get_one(Project, project.id))
        assert refill is not None
    work_until_idle()
    assert (state(refill.id).status, state(refill.id).done) == ("succeeded", 6)


def test_seeds_repeat_nothing_and_a_share_is_drawn_from_the_full_distribution() -> None:
    drawn = [
        pairs.draw_for(Prompt(id=prompt, times_sampled=times), Sampling(full_distribution=0.25))
        for prompt in range(1, 101)
        for times in range(20)
    ]
    assert len({draw.seed for draw in drawn}) == 2000
    full = [draw for draw in drawn if (draw.temperature, draw.top_p) == (1.0, 1.0)]
    # 2000 draws at 0.25: 500 with a standard deviation of 19.
    assert 420 < len(full) < 580
    again = pairs.draw_for(Prompt(id=1, times_sampled=0), Sampling(full_distribution=0.25))
    assert again == drawn[0]
    assert all(run.seed is not None and 0 <= run.seed < 2**31 for run in drawn)
