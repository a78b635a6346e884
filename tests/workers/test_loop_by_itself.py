"""The loop by itself: simulated annotators answer, and everything else happens without a hand.

Chance decides the first round and its gate says no; the annotators of the second and the third mean what they say, and
each of these rounds promotes a policy that writes the pairs of the next one.
"""

import json
import random
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from app.checkpoints import checkpoints
from app.database import open_session
from app.models import Comparison, Project, Prompt, Response, Run
from app.runs import pauses, runs
from app.runs.hyper import PpoHyper
from app.simulation.annotators import SimulatedAnnotator
from app.simulation.gold import Rule
from tests.live_server import serving
from tests.people import bearer, make_person, make_project
from tests.workers.worker import periodic, work_until_idle

PROMPTS = Path(__file__).parents[2] / "data" / "prompts.jsonl"
A_ROUND = 60
USUAL = PpoHyper.tiny
LIKED = Rule("letters", lambda text: 100 * text.count("e") / max(1, len(text)), 4, 15, "More of the letter e.")
"""Something that has nothing to do with length, which the tiny model can do."""


def make_scene() -> tuple[int, dict[str, str]]:
    """A project that trains after every so many answers, and the headers of a simulated annotator."""
    with open_session() as session:
        project = make_project(session)
        project.retraining, project.sampling = {"every": A_ROUND}, {"stock": 40, "max_tokens": 40}
        project.labeling = {"repeats": 0}
        for number, line in enumerate(PROMPTS.read_text().splitlines()[:120]):
            messages = [{"role": "user", "content": str(json.loads(line)["prompt"])}]
            session.add(Prompt(project_id=project.id, messages=messages, hash=str(number), holdout=number % 8 == 0))
        sim = make_person(session, "sim", "annotator", kind="simulated")
        return project.id, bearer(session, sim)


def go_round(client: httpx.Client, flips: float) -> Run:
    """Let an annotator answer until a chain started by itself, then let the workers work; return the chain."""
    annotator = SimulatedAnnotator(client, "garden", LIKED, flips, random.Random(1))
    with open_session() as session:
        before = session.scalar(select(Run.id).where(Run.kind == "chain").order_by(Run.id.desc()).limit(1)) or 0
    newer = select(Run).where(Run.kind == "chain", Run.id > before)
    for _ in range(4 * A_ROUND):
        with open_session() as session:
            if session.scalar(newer) is not None:
                break
        if annotator.answer_next() is None:
            periodic.every_minute(timestamp=0)
            work_until_idle()
    work_until_idle()
    with open_session() as session:
        return session.scalars(newer).one()


def in_use(kind: str) -> int | None:
    with open_session() as session:
        project = session.scalars(select(Project)).one()
        found = checkpoints.promoted(session, project.id, kind)
        return found.id if found else None


@pytest.mark.slow
@pytest.mark.usefixtures("committed")
def test_a_round_of_chance_is_refused_and_the_next_two_promote_what_they_made(
    engine_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_id, headers = make_scene()
    with serving() as address, httpx.Client(base_url=address, headers=headers, timeout=60) as client:
        # 1. Coins are tossed: the reward model's gate says no, and nothing changes.
        first = go_round(client, flips=0.5)
        assert (first.trigger, first.status) == ("labels", "failed")
        assert "The chain stopped after the step “reward model”" in str(first.error)
        assert (in_use("reward"), in_use("policy")) == (None, None)

        # 2. and 3. People who know what they like: each round ends with a policy of its own in use.
        # The second goes half the way that it may, so that there is some left for the third.
        policies = []
        for leash in ({"kl_target": 2.0, "kl_budget": 3.0}, {}):
            monkeypatch.setattr(PpoHyper, "tiny", {**USUAL, **leash})
            chain = go_round(client, flips=0.0)
            assert (chain.trigger, chain.status, chain.error) == ("labels", "succeeded", None)
            policies.append(in_use("policy"))
        assert None not in policies
        assert policies[0] != policies[1]
        with open_session() as session:
            waiting = select(Comparison).where(Comparison.status == "waiting", Comparison.purpose == "train")
            pairs = session.scalars(waiting).all()
            assert {session.get_one(Response, one.response_a_id).checkpoint_id for one in pairs} == {policies[1]}
            kinds = [step.kind for step in runs.steps_of(session, chain)]
            assert kinds == ["reward", "ppo", "evaluate", "sample"]

        # A pause, and nothing starts any more, whatever is due.
        with open_session() as session:
            pauses.begin(session, session.get_one(Project, project_id))
            newest = session.scalar(select(Run.id).order_by(Run.id.desc()).limit(1))
        annotator = SimulatedAnnotator(client, "garden", LIKED, 0.0, random.Random(2))
        while annotator.answer_next() is not None:
            pass
        periodic.every_minute(timestamp=0)
        work_until_idle()
        with open_session() as session:
            assert session.scalar(select(Run.id).order_by(Run.id.desc()).limit(1)) == newest
