"""Many people at once, on connections of their own: nothing is answered twice, overlap is exactly what was asked."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, func, select

from app.accounts.access import Access, find_project
from app.database import open_session
from app.errors import DomainError, Gone
from app.labeling import answers, leases
from app.models import ORDINARY, Answer, Assignment, Comparison, Project, User
from tests.labeling.pairs import LEFT, SKIP, make_comparisons, make_golds
from tests.people import make_person, make_project

pytestmark = pytest.mark.usefixtures("committed")


def prepare(people: int, comparisons: int, overlap: int) -> list[int]:
    """A project with so many annotators and comparisons; the annotators' ids."""
    with open_session() as session:
        project = make_project(session, labels_per_comparison=overlap)
        make_comparisons(session, project, comparisons)
        return [make_person(session, f"annotator{number}", "annotator").id for number in range(people)]


def in_transaction(person: int, act: Callable[..., object]) -> object:
    """One request of this person: `act(session, access)` on a connection of its own, committed."""
    with open_session() as session:
        access: Access = find_project(session, session.get_one(User, person), "garden", "annotator")
        return act(session, access)


def all_at_once(work: Callable[[int], object], people: list[int]) -> list[object]:
    """What `work` gives for each person, all threads let go at the same moment."""
    start = threading.Barrier(len(people))

    def one(person: int) -> object:
        start.wait()
        return work(person)

    with ThreadPoolExecutor(len(people)) as threads:
        return list(threads.map(one, people))


@pytest.mark.parametrize("overlap", [1, 3])
def test_sixteen_people_label_until_nothing_is_left(overlap: int) -> None:
    people = prepare(16, 40, overlap)

    def label_until_done(person: int) -> int:
        answered = 0
        while True:
            assignment = in_transaction(person, lambda session, access: _id(leases.claim(session, access)))
            if not isinstance(assignment, int):
                return answered
            # Every fifth is sent twice at once, as by a double click.
            clicks = [person, person] if assignment % 5 == 0 else [person]
            send = _answer(assignment)
            stored = all_at_once(lambda each, send=send: in_transaction(each, send), clicks)  # type: ignore[misc]
            assert len(set(stored)) == 1, "a repeat gives the stored answer"
            answered += 1

    answered = sum(int(str(n)) for n in all_at_once(label_until_done, people))
    with open_session() as session:
        per_comparison = Counter(session.scalars(select(Answer.comparison_id)))
        statuses = set(session.scalars(select(Comparison.status)))
        leased = session.scalar(select(func.count()).where(Assignment.status == "leased"))
    # Whoever found nothing left while others still held leases went home: those others finished what they held.
    assert set(per_comparison.values()) == {overlap}
    assert len(per_comparison) == 40
    assert (answered, statuses, leased) == (40 * overlap, {"complete"}, 0)


def test_overlap_is_exact_while_gold_and_own_pairs_slip_in() -> None:
    people = prepare(8, 30, 2)
    with open_session() as session:
        project = session.scalars(select(Project)).one()
        project.labeling = {"gold": 25, "own_repeats": 25}
        make_golds(session, project, 10)

    def label_until_done(person: int) -> int:
        done = 0
        while (held := in_transaction(person, lambda session, access: _id(leases.claim(session, access)))) is not None:
            in_transaction(person, _answer(int(str(held))))
            done += 1
        return done

    done = sum(int(str(n)) for n in all_at_once(label_until_done, people))
    with open_session() as session:
        per_comparison = Counter(session.scalars(select(Answer.comparison_id).where(~Answer.measures)))
        twice = select(Answer.comparison_id, Answer.user_id).group_by(Answer.comparison_id, Answer.user_id)
        assert session.execute(twice.having(func.count() > 1)).all() == []
        assert session.scalar(select(func.count()).select_from(Answer)) == done
        ordinary = set(session.scalars(select(Comparison.id).where(ORDINARY, Comparison.status == "complete")))
    assert per_comparison == dict.fromkeys(ordinary, 2)
    assert len(ordinary) == 30


def test_one_comparison_is_claimed_by_exactly_as_many_as_it_asks() -> None:
    people = prepare(12, 1, 3)
    # A claim that looked before another one was committed must not act on what it saw; rare, so many rounds.
    for _round in range(40):
        claimed = all_at_once(lambda person: in_transaction(person, lambda s, a: _id(leases.claim(s, a))), people)
        assert sum(each is not None for each in claimed) == 3
        with open_session() as session:
            session.execute(delete(Assignment))


def test_one_person_in_many_tabs_holds_one_lease() -> None:
    (person,) = prepare(1, 10, 1)
    claimed = all_at_once(lambda each: in_transaction(each, lambda s, a: _id(leases.claim(s, a))), [person] * 8)
    assert len(set(claimed)) == 1
    assert claimed[0] is not None


def test_two_tabs_that_say_different_things_store_one_of_them() -> None:
    (person,) = prepare(1, 1, 1)
    assignment = in_transaction(person, lambda s, a: _id(leases.claim(s, a)))
    words = iter([answers.Spoken("tie"), answers.Spoken("both_bad"), SKIP, LEFT])

    def send(each: int) -> object:
        spoken = next(words)
        try:
            return in_transaction(each, lambda s, a: answers.record(s, a, int(str(assignment)), spoken).id)
        except DomainError as error:
            return error.status

    sent = all_at_once(send, [person] * 4)
    assert sorted(Counter(sent).values()) == [1, 3]
    assert Counter(sent)[409] == 3


def test_lapsed_leases_and_new_ones_never_exceed_the_overlap() -> None:
    """Everybody's lease has lapsed and everybody sends at once: exactly as many as fit are kept, the rest are gone."""
    people = prepare(10, 1, 2)
    assignments = {}
    for person in people:
        assignments[person] = in_transaction(person, lambda s, a: _id(leases.claim(s, a)))
        with open_session() as session:
            for each in session.scalars(select(Assignment)):
                each.leased_until -= leases.LEASE
    assert None not in assignments.values()

    def send(person: int) -> object:
        try:
            return in_transaction(person, _answer(int(str(assignments[person])))) and "kept"
        except Gone:
            return "gone"

    assert Counter(all_at_once(send, people)) == {"kept": 2, "gone": 8}


def _id(assignment: Assignment | None) -> int | None:
    return assignment.id if assignment else None


def _answer(assignment: int) -> Callable[..., object]:
    return lambda session, access: answers.record(session, access, assignment, LEFT).id
