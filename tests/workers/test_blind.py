"""A trial's pairs: one answer by each side to one prompt, held-out prompts first, nothing that tells who wrote what."""

import pytest
from sqlalchemy import select

from app.checkpoints import checkpoints, trials
from app.database import open_session
from app.labeling.leases import pair_of
from app.models import Checkpoint, Comparison, Project, Prompt, Run, Trial
from app.models.policies import Sampling
from app.runs import runs
from app.settings import settings
from tests.pairs import make_checkpoint, make_prompt
from tests.people import make_person, make_project
from tests.workers.worker import state, work_until_idle
from workers import artifacts
from workers.language import adapters
from workers.language.adapters import LoraConfig
from workers.language.model import LanguageModel

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def candidate(tiny: LanguageModel) -> int:
    adapters.create(tiny, "candidate", LoraConfig(rank=2, alpha=4), 1)
    url = f"{settings.artifacts}/checkpoints/blind/"
    sha256 = artifacts.write(url, "policy", "tiny", adapters.files(tiny, "candidate"))
    with open_session() as session:
        project = make_project(session)
        project.sampling = Sampling(max_tokens=8, stock=0).to_json()
        for number in range(6):
            make_prompt(session, project, f"Say something about {number}.", holdout=number in (3, 5))
        made = make_checkpoint(session, project, "policy")
        made.url, made.sha256 = url, sha256
        return made.id


def test_people_get_pairs_of_both_sides_and_cannot_tell_them_apart(candidate: int, engine_url: str) -> None:
    with open_session() as session:
        trial = trials.begin(session, session.get_one(Checkpoint, candidate), 4)
    work_until_idle()
    assert state(trial.run_id).status == "succeeded", state(trial.run_id).error
    with open_session() as session:
        pairs = session.scalars(select(Comparison).order_by(Comparison.id)).all()
        assert len(pairs) == 4
        assert {(one.purpose, one.source, one.run_id, one.priority) for one in pairs} == {
            ("evaluation", "evaluation", trial.run_id, trials.PRIORITY)
        }
        for one in pairs:
            assert {one.response_a.checkpoint_id, one.response_b.checkpoint_id} == {None, candidate}
            assert one.response_a.token_ids
            assert one.response_a.features
            assert vars(pair_of(session, one.id, "a").left).keys() == {"id", "text"}
        heldout = [session.get_one(Prompt, one.prompt_id).holdout for one in pairs]
        assert heldout == [True, True, False, False]
        found = trials.tally(session, session.get_one(Trial, trial.id))
        assert (found.written, found.answered, found.left) == (4, 0, 4)


def test_a_trial_that_is_ended_while_it_writes_is_cancelled(candidate: int, engine_url: str) -> None:
    with open_session() as session:
        trial = trials.begin(session, session.get_one(Checkpoint, candidate), 4)
        checkpoints.promote(
            session, None, make_checkpoint(session, session.get_one(Project, trial.project_id), "policy")
        )
        trials.conclude(session)
    work_until_idle()
    with open_session() as session:
        assert session.get_one(Run, trial.run_id).status == "cancelled"
        assert session.scalars(select(Comparison)).all() == []


def test_a_trial_goes_on_in_the_run_that_starts_the_writing_again(candidate: int, engine_url: str) -> None:
    with open_session() as session:
        trial = trials.begin(session, session.get_one(Checkpoint, candidate), 2)
    work_until_idle()
    with open_session() as session:
        first = session.get_one(Run, trial.run_id)
        first.status = "failed"  # as if the engine had refused the third prompt
        session.get_one(Trial, trial.id).wanted = 4
        again = runs.retry(session, first, make_person(session, "olga", "operator")).id
    work_until_idle()
    with open_session() as session:
        assert (state(again).status, state(again).done) == ("succeeded", 4), state(again).error
        pairs = session.scalars(select(Comparison)).all()
        assert ({one.run_id for one in pairs}, len({one.prompt_id for one in pairs})) == ({again}, 4)
