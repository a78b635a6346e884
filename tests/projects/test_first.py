"""The project that is there at the first start."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Project, Prompt, Run, now
from app.models.policies import Retraining, Sampling
from app.projects import guidelines
from app.projects.first import DATA, make_first_project
from app.settings import settings
from tests.people import make_project


def test_it_has_guidelines_prompts_and_pairs_on_their_way(session: Session) -> None:
    project = make_first_project(session)
    assert project is not None
    assert (project.name, project.slug, project.base_model) == ("First project", "first-project", "tiny")
    assert Retraining.from_json(project.retraining).every == 200
    assert 0 < Sampling.from_json(project.sampling).stock <= 100
    text = guidelines.current(session, project)
    assert text is not None
    assert text.text.startswith("# How to choose")
    prompts = session.scalars(select(Prompt)).all()
    # Every line of the file: none was refused, none says what another says.
    assert len(prompts) == len((DATA / "prompts.jsonl").read_text().splitlines()) >= 150
    assert all(prompt.sampled and prompt.tags and prompt.messages[-1]["role"] == "user" for prompt in prompts)
    assert any(prompt.holdout for prompt in prompts)
    run = session.scalars(select(Run)).one()
    assert (run.kind, run.trigger, run.status) == ("sample", "stock", "queued")


def test_it_is_made_once(session: Session) -> None:
    assert make_first_project(session) is not None
    assert make_first_project(session) is None
    assert session.scalar(select(func.count()).select_from(Project)) == 1


def test_where_any_project_is_there_even_archived_none_is_made(session: Session) -> None:
    make_project(session).archived_at = now()
    session.flush()
    assert make_first_project(session) is None


def test_it_takes_a_base_that_is_served(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "engine_url", "qwen=http://gpu:8100,tiny2=http://cpu:8100")
    project = make_first_project(session)
    assert project is not None
    assert project.base_model == "qwen"
