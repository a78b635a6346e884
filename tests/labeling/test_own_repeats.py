"""One's own earlier pair comes once more with the sides changed, after a while, once, and to nobody else."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.datasets import snapshots
from app.datasets.filters import Filters
from app.labeling import answers, comparisons, leases, slips
from app.models import Answer, Assignment, Comparison, Project, now
from app.runs import due
from tests.labeling.pairs import LEFT, SKIP, access_of, label_all, make_comparison, make_comparisons
from tests.people import make_person, make_project

OWN = Comparison.asks_id.is_not(None)


@pytest.fixture
def project(session: Session) -> Project:
    """Half of the pairs are one's own again, once there are any."""
    project = make_project(session)
    project.labeling = {"own_repeats": 50}
    return project


@pytest.fixture
def alice(session: Session, project: Project) -> Access:
    return access_of(session, make_person(session, "alice", "annotator"), project)


def answered(session: Session, alice: Access, n: int) -> list[Comparison]:
    """So many pairs that Alice answered an hour ago, the oldest first."""
    made = make_comparisons(session, alice.project, n)
    for number, comparison in enumerate(made):
        assignment = leases.assign(session, alice, comparison, status="answered")
        session.add(
            Answer(
                project_id=comparison.project_id,
                comparison_id=comparison.id,
                assignment_id=assignment.id,
                user_id=alice.person.id,
                verdict="tie",
                source="page",
                created_at=now() - timedelta(hours=1) + timedelta(seconds=number),
            )
        )
        comparison.status = "complete"
    session.flush()
    return made


def again(session: Session, alice: Access) -> Assignment:
    """Alice's own pair once more, as the lot gives it."""
    return leases._lease(session, alice, *slips._own(session, alice))


def test_it_comes_after_enough_others_with_the_sides_changed_and_once(session: Session, alice: Access) -> None:
    earlier = answered(session, alice, slips.APART + 2)
    repeat = again(session, alice)
    (then,) = (each for each in earlier if each.response_a_id == repeat.comparison.response_a_id)
    assert then in earlier[:2], "twenty answers lie between"
    first = session.scalars(select(Assignment).where(Assignment.comparison_id == then.id)).one()
    assert {first.shown_left, repeat.shown_left} == {"a", "b"}
    answers.record(session, alice, repeat.id, LEFT)
    made = repeat.comparison
    assert (made.purpose, made.status, made.asks_id) == ("repeat", "complete", alice.person.id)
    assert again(session, alice).comparison.response_a_id != made.response_a_id, "once"


def test_it_comes_at_about_the_rate(session: Session, alice: Access) -> None:
    answered(session, alice, slips.APART + 20)
    drawn = [slips.draw(session, alice) for _lot in range(20) if session.execute(delete(Comparison).where(OWN))]
    # Half of twenty lots; none or all of them twice in a million times.
    assert 0 < sum(each is not None for each in drawn) < 20


@pytest.mark.parametrize("others", [0, slips.APART - 1])
def test_too_few_answers_in_between_are_too_few(session: Session, alice: Access, others: int) -> None:
    answered(session, alice, others + 1)
    assert all(slips._own(session, alice) is None for _ in range(5))


def test_a_pair_of_a_moment_ago_does_not_come_however_many_lie_between(session: Session, alice: Access) -> None:
    answered(session, alice, slips.APART + 5)
    session.execute(update(Answer).values(created_at=now()))
    assert slips._own(session, alice) is None


@pytest.mark.parametrize("change", [{"verdict": "skipped"}, {"adjudicates": True}, {"measures": True}])
def test_what_says_nothing_of_ones_own_first_look_does_not_come(
    session: Session, alice: Access, change: dict[str, object]
) -> None:
    first, *_others = answered(session, alice, slips.APART + 1)
    session.execute(update(Answer).where(Answer.comparison_id == first.id).values(**change))
    assert slips._own(session, alice) is None


def test_what_was_seen_twice_anyway_does_not_come(session: Session, project: Project, alice: Access) -> None:
    first, *_others = answered(session, alice, slips.APART + 1)
    twin = Comparison(
        project_id=project.id,
        prompt_id=first.prompt_id,
        response_a_id=first.response_b_id,
        response_b_id=first.response_a_id,
        purpose="repeat",
        source="import",
    )
    session.add(twin)
    session.flush()
    leases.assign(session, alice, twin, status="answered")
    assert slips._own(session, alice) is None


def test_nobody_else_gets_it_and_no_count_knows_it(session: Session, project: Project, alice: Access) -> None:
    answered(session, alice, slips.APART + 1)
    make_comparison(session, project, "Name a stone.")
    assignment = again(session, alice)
    assert leases.is_live(leases.heartbeat(session, alice, assignment))
    bob = access_of(session, make_person(session, "bob", "annotator"), project)
    assert [each.asks_id for each in label_all(session, bob)] == [None]
    assert comparisons.waiting(session, project.id) == 0
    assert not leases.has_room(session, assignment.comparison, bob)
    leases.release(session, alice, assignment)
    assert leases.claim(session, alice).id == assignment.id


def test_a_skip_ends_it_too(session: Session, alice: Access) -> None:
    answered(session, alice, slips.APART + 1)
    assignment = again(session, alice)
    answers.record(session, alice, assignment.id, SKIP)
    assert assignment.comparison.status == "complete"
    answers.undo(session, alice, assignment.id)
    assert (assignment.comparison.status, assignment.status) == ("waiting", "leased")


def test_the_second_answer_teaches_nothing(session: Session, project: Project, alice: Access) -> None:
    answered(session, alice, slips.APART + 1)
    answers.record(session, alice, again(session, alice).id, LEFT)
    assert due.new_answers(session, project.id) == slips.APART + 1
    card = snapshots.take(session, project, Filters()).manifest
    assert (card["answers"], card["exclusions"]) == (
        slips.APART + 1,
        [{"reason": "own_repeats", "answers": 1, "why": "Their author answered the same two responses before."}],
    )
    assert snapshots.take(session, project, Filters(purposes=("repeat",))).manifest["answers"] == 1


def test_the_database_itself_refuses_a_second_one(session: Session, alice: Access) -> None:
    answered(session, alice, slips.APART + 1)
    repeat, _left = slips._own(session, alice)
    second = Comparison(
        project_id=repeat.project_id,
        prompt_id=repeat.prompt_id,
        response_a_id=repeat.response_b_id,
        response_b_id=repeat.response_a_id,
        purpose="repeat",
        source="import",
        asks_id=repeat.asks_id,
    )
    with pytest.raises(IntegrityError, match="one_own_repeat"), session.begin_nested():
        session.add(second)
