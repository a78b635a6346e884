"""After an answer: the head follows in the worker, says what it knows, and has the engine read what it cannot."""

from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import func, select, text, update

from app.accounts.access import Access
from app.database import open_session
from app.labeling import answers, choices
from app.labeling.answers import Spoken
from app.live_head import heads
from app.live_head.heads import Head
from app.models import Answer, Comparison, LiveHead, Project, Response, User
from app.settings import settings
from tests.live_head.scene import FEATURES, NAME, add_answers
from tests.pairs import make_comparison, make_prompt
from tests.people import make_person, make_project
from tests.workers.worker import periodic, work_until_idle
from workers.live_head import missing, refit


@pytest.fixture
def project(committed: None) -> Iterator[Project]:
    with open_session() as session:
        project = make_project(session)
        project.sampling = {"stock": 0}
        make_person(session, "alice", "annotator")
    refit._known.clear()
    yield project
    refit._known.clear()


def answer(project: Project, count: int, **more: int) -> None:
    with open_session() as session:
        add_answers(session, project, session.scalars(select(User)).one(), count, **more)


def fitted(project: Project) -> tuple[LiveHead, Head | None]:
    """What a worker makes of the project's answers now."""
    refit.refit(project.id)
    with open_session() as session:
        found = heads.usable(session, project.id)
        return session.get_one(LiveHead, project.id), found[1] if found else None


def waiting(task: str) -> int:
    with open_session() as session:
        todo = "select count(*) from jobs.procrastinate_jobs where status = 'todo' and task_name = :task"
        return int(session.scalar(text(todo), {"task": task}) or 0)


def test_from_twenty_answers_on_there_is_a_head_that_knows_what_is_preferred(project: Project) -> None:
    answer(project, 19)
    row, head = fitted(project)
    assert (row.answers, head) == (19, None)
    assert heads.sentence(row) == "No estimate yet: 19 of 20 answers that prefer one response."
    answer(project, 41, start=19)
    row, head = fitted(project)
    assert head is not None
    assert (row.answers, row.unread, row.features_from) == (60, 0, NAME)
    assert row.metrics["accuracy"] > 0.8
    assert np.abs(head.weights).argmax() == 0
    good, bad = head.scores(np.array([[3.0, 0, 0, 0, 0, 0], [-3.0, 0, 0, 0, 0, 0]]))
    assert good > 1 > -1 > bad
    assert head.ensemble_scores(np.zeros((2, FEATURES))).shape == (8, 2)
    assert "Estimate after 60 answers: " in heads.sentence(row)
    assert "no training needed." in heads.sentence(row)


def test_scores_of_what_it_knows_have_mean_zero_and_spread_one(project: Project) -> None:
    answer(project, 40)
    _, head = fitted(project)
    assert head is not None
    with open_session() as session:
        stored = session.scalars(select(Response.features)).all()
    scores = head.scores(np.stack([heads.numbers(one or b"") for one in stored]))
    assert (scores.mean(), scores.std()) == pytest.approx((0.0, 1.0), abs=1e-3)


def test_a_head_that_grew_answer_by_answer_is_the_one_made_at_once(project: Project) -> None:
    answer(project, 100)
    fitted(project)
    answer(project, 5, start=100)
    grown = fitted(project)[1]
    refit._known.clear()
    fresh = fitted(project)[1]
    assert grown is not None
    assert fresh is not None
    new = np.eye(FEATURES)
    assert grown.scores(new) == pytest.approx(fresh.scores(new), abs=0.1)


def test_a_correction_and_an_undone_answer_count_at_once(project: Project) -> None:
    answer(project, 30)
    assert fitted(project)[0].answers == 30
    with open_session() as session:
        alice = session.scalars(select(User)).one()
        access = Access(alice, session.get_one(Project, project.id))
        first = session.scalars(select(Answer).order_by(Answer.id)).first()
        assert first is not None
        answers.correct(session, access, first.id, Spoken("skipped"))
    assert waiting("live_head") == 1
    work_until_idle()
    with open_session() as session:
        assert session.get_one(LiveHead, project.id).answers == 29


def test_many_answers_leave_one_job(project: Project) -> None:
    with open_session() as session:
        alice = session.scalars(select(User)).one()
        for number in range(3):
            pair = make_comparison(session, make_prompt(session, project, f"{number}?"))
            choices.keep(session, project, pair, alice, verdict="preferred", preferred="a", source="chat")
    assert waiting("live_head") == 1


def test_all_about_one_prompt_there_is_no_estimate_and_a_reason(project: Project) -> None:
    answer(project, 25, prompts=1)
    row, head = fitted(project)
    assert head is None
    assert "about one prompt" in heads.sentence(row)


def test_features_of_another_name_are_not_mixed_in(project: Project) -> None:
    answer(project, 24)
    with open_session() as session:
        newest = select(func.max(Response.id)).scalar_subquery()
        session.execute(update(Response).where(Response.id == newest).values(features_from="tiny layer 2 mean"))
    row, head = fitted(project)
    assert (row.features_from, row.answers, row.unread, head) == ("tiny layer 2 mean", 0, 47, None)
    # Another base model's features count as none.
    with open_session() as session:
        session.execute(update(Response).values(features_from="other layer 1 mean"))
    row, _ = fitted(project)
    assert (row.features_from, row.answers, row.unread) == (None, 0, 48)
    assert "yet to read 48 responses" in heads.sentence(row)


def test_responses_without_features_are_read_in_batches_until_none_is_left(project: Project, engine_url: str) -> None:
    answer(project, 22)
    with open_session() as session:
        session.execute(update(Response).values(features=None, features_from=None))
        long = make_comparison(session, make_prompt(session, project, "word " * 400))
        alice = session.scalars(select(User)).one()
        choices.keep(session, project, long, alice, verdict="preferred", preferred="a", source="chat")
    row, _ = fitted(project)
    assert (row.answers, row.unread) == (0, 46)
    # Stopped anywhere, what was read stays read.
    missing.read_some(project.id)
    assert fitted(project)[0].unread == 46 - missing.AT_ONCE
    work_until_idle()
    with open_session() as session:
        row = session.get_one(LiveHead, project.id)
        # The pair with the prompt that the model cannot read is left out, and not asked for again.
        assert (row.answers, row.unread, row.features_from) == (22, 0, NAME)
        assert session.scalar(select(func.count()).where(Response.features == b"")) == 2
        assert session.scalar(select(func.count()).where(func.octet_length(Response.features) == 4 * 64 * 2)) == 44


def test_while_the_engine_is_down_they_wait(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "engine_url", "http://127.0.0.1:9")
    with open_session() as session:
        pair = make_comparison(session, make_prompt(session, project))
        alice = session.scalars(select(User)).one()
        choices.keep(session, project, pair, alice, verdict="preferred", preferred="a", source="chat")
    work_until_idle()
    with open_session() as session:
        assert session.get_one(LiveHead, project.id).unread == 2
    assert (waiting("live_head"), waiting("features")) == (0, 0)
    periodic.every_minute(timestamp=0)
    assert waiting("live_head") == 1


def test_every_minute_notices_answers_that_nobody_announced(project: Project) -> None:
    answer(project, 3)
    periodic.every_minute(timestamp=0)
    assert waiting("live_head") == 1
    work_until_idle()
    periodic.every_minute(timestamp=0)
    assert waiting("live_head") == 0


def test_a_skipped_pair_teaches_nothing(project: Project) -> None:
    answer(project, 30)
    with open_session() as session:
        some = select(Comparison.id).order_by(Comparison.id).limit(4)
        skip = {"verdict": "cannot_judge", "preferred": None, "strength": None}
        session.execute(update(Answer).where(Answer.comparison_id.in_(some)).values(skip))
    row, head = fitted(project)
    assert head is not None
    assert (row.answers, len(head.answers)) == (26, 26)
