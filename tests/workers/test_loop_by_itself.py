"""The loop by itself: simulated annotators answer, and everything else happens without a hand.

In the first round they mean what they say, and a policy of their own writes the next pairs. In the second every other
answer is the wrong way round: the gate says no, and nothing changes. In the third they mean it again, and the loop goes
on, although the answers of the bad round stay among those that it learns from.
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
from app.runs.hyper import EvaluateHyper, PpoHyper
from app.simulation.annotators import SimulatedAnnotator
from app.simulation.gold import Rule
from tests.live_server import serving
from tests.people import bearer, make_person, make_project
from tests.workers import training
from tests.workers.worker import periodic, work_until_idle

PROMPTS = Path(__file__).parents[2] / "data" / "prompts.jsonl"
A_ROUND = 70
"""So many answers start a chain; a gate asks about the newest policy's own ones from 50 on."""
LIKED = Rule("vowels", lambda text: float(training.liking(text)), 2, 4, "The more vowels the better.")
"""A wish without an optimum: the second promotion has something left to gain."""


class EveryOther(random.Random):
    """Draws that make every other answer a slip: what coins do, without their luck."""

    slip = False

    def random(self) -> float:
        """Below any share of slips, and above it, by turns."""
        self.slip = not self.slip
        return 0.0 if self.slip else 1.0


def make_scene() -> dict[str, str]:
    """A project that trains after every so many answers; the headers of a simulated annotator."""
    with open_session() as session:
        project = make_project(session)
        # As long as `tiny` writes in training: a reward model knows answers of the length that people compare.
        project.sampling = {"stock": 40, "max_tokens": 16}
        project.retraining, project.labeling = {"every": A_ROUND}, {"repeats": 0}
        for number, line in enumerate(PROMPTS.read_text().splitlines()[:128]):
            messages = [{"role": "user", "content": str(json.loads(line)["prompt"])}]
            session.add(Prompt(project_id=project.id, messages=messages, hash=str(number), holdout=number % 4 == 0))
        sim = make_person(session, "sim", "annotator", kind="simulated")
        return bearer(session, sim)


def go_round(client: httpx.Client, *, meant: bool) -> Run:
    """Let an annotator answer until a chain started by itself, then let the workers work; return the chain."""
    flips, chance = (0.0, random.Random(1)) if meant else (0.5, EveryOther())
    annotator = SimulatedAnnotator(client, "garden", LIKED, flips, chance)
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


def gates_of(chain: Run) -> list[tuple[str, str, object]]:
    """Each step of a chain with what became of it and its gate's sentence."""
    with open_session() as session:
        return [(one.kind, one.status, one.result.get("gate", {}).get("why")) for one in runs.steps_of(session, chain)]


def in_use(kind: str) -> int | None:
    with open_session() as session:
        found = checkpoints.promoted(session, session.scalars(select(Project.id)).one(), kind)
        return found.id if found else None


def writers() -> set[int | None]:
    """Who wrote the pairs that wait for training."""
    waiting = select(Comparison).where(Comparison.status == "waiting", Comparison.purpose == "train")
    with open_session() as session:
        pairs = session.scalars(waiting).all()
        return {session.get_one(Response, one.response_a_id).checkpoint_id for one in pairs}


@pytest.mark.slow
@pytest.mark.usefixtures("committed")
def test_rounds_go_by_themselves_past_a_bad_one(engine_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two promotions fit within the KL budget where each round makes two updates.
    monkeypatch.setattr(PpoHyper, "tiny", {**PpoHyper.tiny, "updates": 2})
    monkeypatch.setattr(EvaluateHyper, "tiny", {**EvaluateHyper.tiny, "prompts": 32})
    headers = make_scene()
    with serving() as address, httpx.Client(base_url=address, headers=headers, timeout=60) as client:
        good = go_round(client, meant=True)
        assert (good.trigger, good.status) == ("labels", "succeeded"), gates_of(good)
        assert [kind for kind, _, _ in gates_of(good)] == ["reward", "ppo", "evaluate", "sample"]
        reward, policy = in_use("reward"), in_use("policy")
        assert policy is not None
        assert writers() == {policy}

        bad = go_round(client, meant=False)
        assert (bad.trigger, bad.status) == ("labels", "failed"), gates_of(bad)
        assert "The chain stopped after the step “reward model”" in str(bad.error)
        assert (in_use("reward"), in_use("policy")) == (reward, policy)

        again = go_round(client, meant=True)
        assert (again.trigger, again.status) == ("labels", "succeeded"), gates_of(again)
        assert in_use("policy") not in (None, policy)
        assert in_use("reward") != reward
        assert writers() == {in_use("policy")}

        # A pause, and nothing starts any more, whatever is due.
        with open_session() as session:
            pauses.begin(session, session.scalars(select(Project)).one())
            newest = session.scalar(select(Run.id).order_by(Run.id.desc()).limit(1))
        annotator = SimulatedAnnotator(client, "garden", LIKED, 0.0, random.Random(2))
        while annotator.answer_next() is not None:
            pass
        periodic.every_minute(timestamp=0)
        work_until_idle()
        with open_session() as session:
            assert session.scalar(select(Run.id).order_by(Run.id.desc()).limit(1)) == newest
