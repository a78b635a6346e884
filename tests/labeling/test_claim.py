"""Claiming gives each person one comparison at a time, in order, never twice, and never more than there is room for."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import Conflict, Gone, NotAllowed, NotFound
from app.labeling import answers, leases
from app.models import Assignment, Membership, now
from tests.labeling.pairs import LEFT, SKIP, access_of, lapse, make_comparison, make_comparisons
from tests.people import browse_as, make_person, make_project


def test_it_hands_out_the_most_urgent_and_then_the_oldest(session: Session) -> None:
    project = make_project(session)
    old, young = make_comparisons(session, project, 2)
    urgent = make_comparison(session, project, "Urgent?", priority=5)
    alice = access_of(session, make_person(session, "alice", "annotator"), project)
    order = []
    while (assignment := leases.claim(session, alice)) is not None:
        order.append(assignment.comparison_id)
        answers.record(session, alice, assignment.id, LEFT)
    assert order == [urgent.id, old.id, young.id]


def test_it_gives_the_holder_the_same_assignment_again(session: Session) -> None:
    project = make_project(session)
    make_comparisons(session, project, 2)
    alice = access_of(session, make_person(session, "alice", "annotator"), project)
    first = leases.claim(session, alice)
    assert first is not None
    first.leased_until = now() + leases.LEASE / 3
    again = leases.claim(session, alice)
    assert again is first
    assert (again.leased_until - now()) > leases.LEASE * 0.9, "looking at it again is a sign of life"


def test_one_person_never_gets_what_another_one_holds(session: Session) -> None:
    project = make_project(session)
    one, two = make_comparisons(session, project, 2)
    people = [access_of(session, make_person(session, name, "annotator"), project) for name in ("alice", "bob", "carl")]
    claimed = [leases.claim(session, person) for person in people]
    assert [each and each.comparison_id for each in claimed] == [one.id, two.id, None]


def test_a_comparison_is_handed_to_as_many_people_as_the_project_asks(session: Session) -> None:
    project = make_project(session, labels_per_comparison=2)
    make_comparison(session, project)
    people = [access_of(session, make_person(session, name, "annotator"), project) for name in ("alice", "bob", "carl")]
    alice, bob, carl = people
    first, second = leases.claim(session, alice), leases.claim(session, bob)
    assert first is not None
    assert second is not None
    assert leases.claim(session, carl) is None, "two hold it"
    answers.record(session, alice, first.id, LEFT)
    assert leases.claim(session, carl) is None, "one answered, one holds it"
    assert leases.claim(session, alice) is None, "Alice has answered it"
    leases.release(session, bob, second)
    third = leases.claim(session, carl)
    assert third is not None
    answers.record(session, carl, third.id, LEFT)
    assert third.comparison.status == "complete"
    assert leases.claim(session, bob) is None


@pytest.mark.parametrize("spoken", [SKIP, answers.Spoken("cannot_judge")])
def test_a_skip_leaves_its_place_to_others_but_not_to_the_same_person(session: Session, spoken: answers.Spoken) -> None:
    project = make_project(session)
    make_comparison(session, project)
    alice, bob = (access_of(session, make_person(session, name, "annotator"), project) for name in ("alice", "bob"))
    skipped = leases.claim(session, alice)
    assert skipped is not None
    answers.record(session, alice, skipped.id, spoken)
    assert skipped.comparison.status == "waiting"
    assert leases.claim(session, alice) is None
    assert leases.claim(session, bob) is not None


def test_a_lapsed_lease_gives_way(session: Session) -> None:
    project = make_project(session)
    make_comparison(session, project)
    alice, bob = (access_of(session, make_person(session, name, "annotator"), project) for name in ("alice", "bob"))
    mine = leases.claim(session, alice)
    assert mine is not None
    assert leases.claim(session, bob) is None
    lapse(session, mine)
    assert leases.claim(session, bob) is not None
    assert leases.claim(session, alice) is None
    assert mine.status == "expired"


def test_whoever_gets_a_released_comparison_back_finds_the_same_sides(session: Session) -> None:
    project = make_project(session)
    for number in range(8):
        make_comparison(session, project, f"Question {number}")
        alice = access_of(session, make_person(session, f"alice{number}", "annotator"), project)
        first = leases.claim(session, alice)
        assert first is not None
        shown = first.shown_left
        leases.release(session, alice, first)
        again = leases.claim(session, alice)
        assert again is not None
        assert (again.id, again.shown_left, again.status) == (first.id, shown, "leased")


def test_sides_are_random_and_stored(session: Session) -> None:
    project = make_project(session, labels_per_comparison=50)
    comparison = make_comparison(session, project)
    sides = []
    for number in range(40):
        alice = access_of(session, make_person(session, f"alice{number}", "annotator"), project)
        assignment = leases.claim(session, alice)
        assert assignment is not None
        pair = leases.pair_of(session, comparison.id, assignment.shown_left)
        left = comparison.response_a if assignment.shown_left == "a" else comparison.response_b
        assert (pair.left.id, pair.left.text) == (left.id, left.text)
        assert {pair.left.id, pair.right.id} == {comparison.response_a_id, comparison.response_b_id}
        sides.append(assignment.shown_left)
    # Forty fair coins all on one side: once in 5e11 times.
    assert set(sides) == {"a", "b"}


@pytest.mark.parametrize("purpose", ["train", "holdout", "evaluation", "repeat"])
def test_all_but_gold_comparisons_are_handed_out_for_their_own_sake(session: Session, purpose: str) -> None:
    project = make_project(session)
    make_comparison(session, project, purpose=purpose)
    alice = access_of(session, make_person(session, "alice", "annotator"), project)
    assert leases.claim(session, alice) is not None


def test_a_withdrawn_comparison_is_taken_off_the_desk(session: Session) -> None:
    project = make_project(session)
    one, two = make_comparisons(session, project, 2)
    alice = access_of(session, make_person(session, "alice", "annotator"), project)
    leases.claim(session, alice)
    one.status = "withdrawn"
    session.flush()
    claimed = leases.claim(session, alice)
    assert claimed is not None
    assert claimed.comparison_id == two.id


def test_an_archived_project_hands_nothing_out(session: Session) -> None:
    project = make_project(session)
    make_comparison(session, project)
    project.archived_at = now()
    assert leases.claim(session, access_of(session, make_person(session, "alice", "annotator"), project)) is None


def test_a_heartbeat_extends_and_takes_a_lapsed_lease_back_while_nobody_has_it(session: Session) -> None:
    project = make_project(session)
    make_comparison(session, project)
    alice, bob = (access_of(session, make_person(session, name, "annotator"), project) for name in ("alice", "bob"))
    mine = leases.claim(session, alice)
    assert mine is not None
    lapse(session, mine)
    assert leases.is_live(leases.heartbeat(session, alice, mine))
    leases.release(session, alice, mine)
    assert leases.is_live(leases.heartbeat(session, alice, mine)), "the other tab was closed, this one goes on"
    lapse(session, mine)
    assert leases.claim(session, bob) is not None
    with pytest.raises(Gone):
        leases.heartbeat(session, alice, mine)


def test_a_heartbeat_of_a_tab_left_behind_takes_nothing_from_the_one_in_use(session: Session) -> None:
    project = make_project(session)
    make_comparisons(session, project, 2)
    alice = access_of(session, make_person(session, "alice", "annotator"), project)
    left_behind = leases.claim(session, alice)
    assert left_behind is not None
    left_behind.status = "released"
    left_behind.comparison.priority = -1
    session.flush()
    in_use = leases.claim(session, alice)
    assert in_use is not None
    assert in_use.id != left_behind.id
    with pytest.raises(Conflict, match="another tab"):
        leases.heartbeat(session, alice, left_behind)
    answers.record(session, alice, in_use.id, LEFT)
    with pytest.raises(Conflict, match="answered this comparison already"):
        leases.heartbeat(session, alice, in_use)


def test_the_database_itself_refuses_a_second_lease(session: Session) -> None:
    project = make_project(session)
    make_comparisons(session, project, 2)
    alice = access_of(session, make_person(session, "alice", "annotator"), project)
    mine = leases.claim(session, alice)
    assert mine is not None
    other = session.scalars(select(Assignment.comparison_id)).one() + 1
    values = {
        name: getattr(mine, name) for name in ("project_id", "user_id", "shown_left", "leased_until", "claimed_at")
    }
    with pytest.raises(IntegrityError, match="one_lease"), session.begin_nested():
        session.add(Assignment(comparison_id=other, **values))


def test_only_annotators_of_the_project_find_their_own_assignment(session: Session) -> None:
    project = make_project(session)
    make_comparison(session, project)
    person = make_person(session, "alice", "annotator")
    mine = leases.claim(session, access_of(session, person, project))
    assert mine is not None
    for stranger in (make_person(session, "bob", "admin", "annotator"), make_person(session, "mallory")):
        with pytest.raises(NotFound):
            leases.find(session, stranger, mine.id)
    person.roles = ["operator"]
    session.flush()
    with pytest.raises(NotAllowed):
        leases.find(session, person, mine.id)
    project.restricted = True
    session.add(Membership(project_id=project.id, user_id=person.id, roles=["annotator"]))
    session.flush()
    assert leases.find(session, person, mine.id)[1] is mine


@pytest.mark.parametrize("way", ["/sign-out", "/me/sign-out-everywhere"])
def test_signing_out_gives_back_what_one_holds(client: TestClient, session: Session, way: str) -> None:
    project = make_project(session)
    make_comparison(session, project)
    person = make_person(session, "alice", "annotator")
    held = leases.claim(session, access_of(session, person, project))
    assert held is not None
    assert browse_as(client, session, person).post(way).status_code == 303
    session.refresh(held)
    assert held.status == "released"
