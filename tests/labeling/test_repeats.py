"""Answers that surprised the reward model are put before people again: once, and only where others may see them."""

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.labeling import answers, leases
from app.labeling.comparisons import add_comparison
from app.labeling.repeats import ask_again
from app.models import Comparison, Project, Run, User, now
from tests.labeling.pairs import LEFT, RIGHT, SKIP, access_of, make_comparison, make_comparisons
from tests.people import make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def alice(session: Session) -> User:
    return make_person(session, "alice", "annotator")


def surprised(session: Session, project: Project, *comparisons: Comparison) -> Run:
    """A reward run that was surprised by the answers about these, the first most of all."""
    listed = [{"comparison": str(one.id), "probability": 0.1} for one in comparisons]
    found = {"kind": "reward", "status": "succeeded", "message": "Good.", "result": {"surprising": listed}}
    run = Run(project_id=project.id, **found)
    session.add(run)
    session.flush()
    return run


def answered(session: Session, project: Project, n: int) -> list[Comparison]:
    found = make_comparisons(session, project, n)
    for one in found:
        one.status = "complete"
    session.flush()
    return found


def repeats(session: Session) -> list[Comparison]:
    return list(session.scalars(select(Comparison).where(Comparison.purpose == "repeat").order_by(Comparison.id)))


def test_the_same_two_responses_wait_again(session: Session, project: Project) -> None:
    (pair,) = answered(session, project, 1)
    run = surprised(session, project, pair)
    ask_again(session, run.id)
    assert run.message == "Good. People are asked again about surprising answers: 1."
    (repeat,) = repeats(session)
    assert (repeat.prompt_id, repeat.response_a_id, repeat.response_b_id) == (
        pair.prompt_id,
        pair.response_a_id,
        pair.response_b_id,
    )
    assert (repeat.status, repeat.source, repeat.priority, repeat.run_id) == ("waiting", "import", 0, run.id)


def test_the_most_surprising_come_as_many_as_the_project_wants(session: Session, project: Project) -> None:
    a, b, c = answered(session, project, 3)
    project.labeling = {"repeats": 2}
    run = surprised(session, project, c, a, b)
    for _ in range(2):
        ask_again(session, run.id)
    assert [one.response_a_id for one in repeats(session)] == [c.response_a_id, a.response_a_id]


def test_a_project_that_wants_none_asks_nothing_again(session: Session, project: Project) -> None:
    pairs = answered(session, project, 2)
    project.labeling = {"repeats": 0}
    ask_again(session, surprised(session, project, *pairs).id)
    project.labeling, project.archived_at = {}, now()
    ask_again(session, surprised(session, project, *pairs).id)
    assert repeats(session) == []


def test_a_chain_asks_at_its_end_behind_the_new_policys_pairs(session: Session, project: Project) -> None:
    (pair,) = answered(session, project, 1)
    run = surprised(session, project, pair)
    chain = Run(project_id=project.id, kind="chain", status="running")
    session.add(chain)
    session.flush()
    run.parent_id = chain.id
    last = Run(project_id=project.id, kind="sample", status="succeeded", parent_id=chain.id)
    session.add(last)
    session.flush()
    ask_again(session, run.id)
    assert repeats(session) == []
    new = make_comparison(session, project, "A pair of the new policy")
    chain.status = "succeeded"
    session.flush()
    ask_again(session, last.id)
    (repeat,) = repeats(session)
    assert (repeat.run_id, repeat.priority, repeat.id > new.id) == (run.id, new.priority, True)


@pytest.mark.parametrize(("kind", "status"), [("reward", "running"), ("reward", "failed"), ("ppo", "succeeded")])
def test_a_run_that_has_not_made_a_reward_model_asks_nothing(
    session: Session, project: Project, kind: str, status: str
) -> None:
    run = surprised(session, project, *answered(session, project, 1))
    run.kind, run.status = kind, status
    session.flush()
    ask_again(session, run.id)
    assert repeats(session) == []


def test_two_responses_are_asked_about_again_once(session: Session, project: Project) -> None:
    (pair,) = answered(session, project, 1)
    twin = add_comparison(session, project, pair.prompt, pair.response_b, pair.response_a, source="import")
    twin.status = "complete"
    for status in ("waiting", "complete", "withdrawn"):
        ask_again(session, surprised(session, project, pair, twin).id)
        assert len(repeats(session)) == 1
        repeats(session)[0].status = status
        session.flush()
    ask_again(session, surprised(session, project, pair, twin).id)
    assert [one.status for one in repeats(session)] == ["withdrawn", "waiting"]


def test_the_table_itself_refuses_a_second_repeat(session: Session, project: Project) -> None:
    (pair,) = answered(session, project, 1)
    ask_again(session, surprised(session, project, pair).id)
    with pytest.raises(IntegrityError, match="uq_comparisons_one_repeat"), session.begin_nested():
        add_comparison(
            session, project, pair.prompt, pair.response_b, pair.response_a, source="import", purpose="repeat"
        )


def test_what_others_may_not_see_or_will_answer_anyway_is_left_alone(session: Session, project: Project) -> None:
    in_a_chat, in_a_product, waiting, withdrawn = answered(session, project, 4)
    in_a_chat.source, in_a_product.source, waiting.status = "chat", "feedback", "waiting"
    withdrawn.prompt.withdrawn_at = now()
    elsewhere = answered(session, make_project(session, "other"), 1)
    ask_again(session, surprised(session, project, in_a_chat, in_a_product, waiting, withdrawn, *elsewhere).id)
    assert repeats(session) == []


def test_the_same_person_is_asked_again_and_may_think_otherwise(
    session: Session, project: Project, alice: User
) -> None:
    access = access_of(session, alice, project)
    pair = make_comparison(session, project)
    first = leases.claim(session, access)
    assert first is not None
    answers.record(session, access, first.id, LEFT if first.shown_left == "a" else RIGHT)
    ask_again(session, surprised(session, project, pair).id)
    make_comparison(session, project, "A pair that came later")
    again = leases.claim(session, access)
    assert again is not None
    assert again.comparison.purpose == "repeat"
    said = answers.record(session, access, again.id, RIGHT if again.shown_left == "a" else LEFT)
    assert (said.preferred, again.comparison.status, pair.status) == ("b", "complete", "complete")
    following = leases.claim(session, access)
    assert following is not None
    assert following.comparison.purpose in ("train", "holdout")


def test_a_repeat_that_somebody_skips_goes_to_somebody_else(session: Session, project: Project, alice: User) -> None:
    (pair,) = answered(session, project, 1)
    ask_again(session, surprised(session, project, pair).id)
    for person in (alice, make_person(session, "bob", "annotator")):
        access = access_of(session, person, project)
        lease = leases.claim(session, access)
        assert lease is not None
        assert lease.comparison.purpose == "repeat"
        answers.record(session, access, lease.id, SKIP)
    assert repeats(session)[0].status == "waiting"
