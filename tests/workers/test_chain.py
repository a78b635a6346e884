"""A whole chain on the tiny model with the real trainer and engine: from answers to pairs by a promoted policy."""

import random

import pytest
from sqlalchemy import select

from app.checkpoints import checkpoints
from app.database import open_session
from app.models import Answer, Comparison, Project, Prompt, Response, Run, RunMetric, User
from app.runs import runs
from tests.people import make_person, make_project
from tests.workers.worker import work_until_idle

CHARACTERS = "\n" + "".join(chr(code) for code in range(32, 127))
START, END = 1, 2


def ids(text: str) -> list[int]:
    """The tiny model's tokens: three special ones, then one per character."""
    return [3 + CHARACTERS.index(character) for character in text]


def label(project: Project, olga: User, n: int) -> None:
    """Answers of somebody who likes short responses, to made-up pairs."""
    words = random.Random(1)
    with open_session() as session:
        for number in range(n):
            question = f"Question {number}?"
            held_out = number % 10 == 0
            messages = [{"role": "user", "content": question}]
            prompt = Prompt(project_id=project.id, messages=messages, hash=str(number), holdout=held_out)
            session.add(prompt)
            session.flush()
            asked = [START, *ids("user\n" + question), END, *ids("\n"), START, *ids("assistant\n")]
            texts = ["".join(words.choices("etaoin shrdlu", k=words.randint(2, 12))) for _ in range(2)]
            a, b = (
                Response(
                    prompt_id=prompt.id,
                    text=text + str(side),
                    source="sample",
                    base_model="tiny",
                    prompt_token_ids=asked,
                    token_ids=[*ids(text + str(side)), END],
                    finish_reason="stop",
                )
                for side, text in enumerate(texts)
            )
            session.add_all((a, b))
            session.flush()
            about = {"project_id": project.id, "prompt_id": prompt.id, "source": "sample", "status": "complete"}
            purpose = "holdout" if held_out else "train"
            pair = Comparison(response_a_id=a.id, response_b_id=b.id, purpose=purpose, **about)
            session.add(pair)
            session.flush()
            short = "a" if len(a.text) <= len(b.text) else "b"
            choice = {"verdict": "preferred", "preferred": short, "strength": 2, "source": "page"}
            session.add(Answer(project_id=project.id, comparison_id=pair.id, user_id=olga.id, **choice))


@pytest.mark.usefixtures("committed")
def test_answers_become_a_policy_that_writes_the_next_pairs(engine_url: str) -> None:
    with open_session() as session:
        project, olga = make_project(session), make_person(session, "olga", "operator")
        project.sampling = {"stock": 4, "max_tokens": 12}
    label(project, olga, 60)
    with open_session() as session:
        chain_id = runs.start(session, project, "chain", {"force": True, "hyper": {"ppo": {"updates": 2}}}, olga).id
    work_until_idle()
    with open_session() as session:
        chain = session.get_one(Run, chain_id)
        steps = runs.steps_of(session, chain)
        assert [(step.kind, step.status, step.error) for step in steps] == [
            (kind, "succeeded", None) for kind in ("reward", "ppo", "evaluate", "sample")
        ]
        assert (chain.status, chain.error) == ("succeeded", None)
        reward, policy = (checkpoints.promoted(session, project.id, kind) for kind in ("reward", "policy"))
        assert reward is not None
        assert policy is not None
        assert 0 <= reward.metrics["accuracy_low"] <= reward.metrics["accuracy"] <= reward.metrics["accuracy_high"] <= 1
        assert policy.reward_parent_id == reward.id
        assert {"win_rate", "kl", "length"} <= set(policy.metrics)
        assert policy.snapshot_id == reward.snapshot_id
        assert steps[1].samples != []
        phases = set(session.scalars(select(RunMetric.phase).where(RunMetric.run_id == steps[1].id)))
        assert phases != set()
        waiting = session.scalars(
            select(Comparison).where(Comparison.status == "waiting").order_by(Comparison.id)
        ).all()
        purposes = [one.purpose for one in waiting]
        # Its own pairs, and behind them what surprised the reward model.
        assert (len(purposes[:4]), "repeat" in purposes[:4]) == (4, False)
        assert set(purposes[4:]) <= {"repeat"}
        # Pairs that test the models may be older: the promoted reward model let the stock be refilled.
        learnt_from = [one for one in waiting if one.purpose == "train"]
        assert {one.response_a.checkpoint_id for one in learnt_from} == {policy.id}
        assert {one.response_b.checkpoint_id for one in learnt_from} == {policy.id}


@pytest.mark.usefixtures("committed")
@pytest.mark.slow
def test_a_policy_made_by_dpo_is_promoted_and_writes_pairs_like_any_other(engine_url: str) -> None:
    with open_session() as session:
        project, olga = make_project(session), make_person(session, "olga", "operator")
        project.sampling = {"stock": 0, "max_tokens": 12}
    label(project, olga, 40)
    with open_session() as session:
        run_id = runs.start(session, project, "dpo", {"hyper": {"epochs": 1}}, olga).id
    work_until_idle()
    with open_session() as session:
        run = session.get_one(Run, run_id)
        assert (run.status, run.error) == ("succeeded", None)
        assert run.samples != []
        candidate = checkpoints.newest_candidate(session, project.id, "policy")
        assert candidate is not None
        assert (candidate.run_id, candidate.snapshot_id) == (run.id, run.snapshot_id)
        assert {"accuracy_low", "kl", "length", "eos_rate"} <= set(candidate.metrics)
        checkpoints.promote(session, None, candidate)
        runs.start(session, project, "sample", {"comparisons": 2}, olga)
    work_until_idle()
    with open_session() as session:
        pairs = session.scalars(select(Comparison).where(Comparison.status == "waiting")).all()
        assert len(pairs) == 2
        assert {one.response_a.checkpoint_id for one in pairs} == {candidate.id}
