"""Which comparison comes next: urgent, half done, uncertain, oldest; and nobody is kept from what they may have."""

import pytest
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.labeling import answers, choices, leases, room
from app.models import Comparison, Project
from tests.labeling.pairs import LEFT, SKIP, access_of, make_comparison, make_comparisons
from tests.pairs import make_answer
from tests.people import make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session, labels_per_comparison=2)


@pytest.fixture
def people(session: Session, project: Project) -> list[Access]:
    return [access_of(session, make_person(session, name, "annotator"), project) for name in ("alice", "bob", "carl")]


def claimed(session: Session, person: Access) -> int | None:
    assignment = leases.claim(session, person)
    return assignment.comparison_id if assignment else None


def answer_next(session: Session, person: Access, spoken: answers.Spoken = LEFT) -> int | None:
    """Claim and answer; the comparison's id."""
    assignment = leases.claim(session, person)
    if assignment is None:
        return None
    answers.record(session, person, assignment.id, spoken)
    return assignment.comparison_id


def begun_by(session: Session, person: Access, comparison: Comparison) -> None:
    """The comparison has an answer of this person."""
    make_answer(session, comparison, person.person)


def test_what_is_half_done_comes_before_what_is_older(session: Session, project: Project, people: list[Access]) -> None:
    alice, bob, _carl = people
    old, older_than_none, young = make_comparisons(session, project, 3)
    begun_by(session, bob, young)
    assert [answer_next(session, alice) for _ in range(3)] == [young.id, old.id, older_than_none.id]
    assert young.status == "complete"


def test_urgency_comes_first_and_uncertainty_after_what_is_half_done(
    session: Session, project: Project, people: list[Access]
) -> None:
    alice, bob, _carl = people
    plain, sure, unsure, half_done, urgent = make_comparisons(session, project, 5)
    urgent.priority = 1
    sure.uncertainty, unsure.uncertainty = 0.1, 0.3
    begun_by(session, bob, half_done)
    order = [answer_next(session, alice) for _ in range(6)]
    assert order == [urgent.id, half_done.id, unsure.id, sure.id, plain.id, None]


def test_counted_follows_an_answer_its_undoing_and_its_correction(
    session: Session, project: Project, people: list[Access]
) -> None:
    alice, bob, _carl = people
    pair = make_comparison(session, project)
    mine = leases.claim(session, alice)
    assert mine is not None
    stored = answers.record(session, alice, mine.id, LEFT)
    assert pair.counted == 1
    answers.correct(session, alice, stored.id, SKIP)
    assert (pair.counted, pair.status) == (0, "waiting"), "a skipped one does not count"
    answers.correct(session, alice, stored.id, LEFT)
    assert pair.counted == 1
    other = leases.claim(session, bob)
    assert other is not None
    answers.record(session, bob, other.id, LEFT)
    assert (pair.counted, pair.status) == (2, "complete")
    answers.undo(session, bob, other.id)
    assert (pair.counted, pair.status) == (1, "waiting")


def test_a_choice_in_a_chat_counts_and_stays_complete(session: Session, project: Project, people: list[Access]) -> None:
    pair = make_comparison(session, project)
    pair.source = "chat"
    stored = choices.keep(session, project, pair, people[0].person, verdict="tie", source="chat")
    assert (pair.counted, pair.status) == (1, "complete")
    answers.correct(session, people[0], stored.id, SKIP)
    assert (pair.counted, pair.status) == (0, "complete")


def test_who_has_answered_all_that_is_half_done_gets_a_new_one_and_in_the_end_all(
    session: Session, project: Project, people: list[Access], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, _carl = people
    monkeypatch.setattr(room, "LOOK", 2)
    pairs = [each.id for each in make_comparisons(session, project, 7)]
    assert [answer_next(session, alice) for _ in range(4)] == pairs[:4]
    # Far behind what is closed to Alice stands a half-done one that Bob began.
    begun_by(session, bob, session.get_one(Comparison, pairs[5]))
    assert [answer_next(session, alice) for _ in range(4)] == [pairs[4], pairs[6], pairs[5], None]


def test_who_skipped_a_lot_gets_what_stands_behind(
    session: Session, project: Project, people: list[Access], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK", 2)
    pairs = [each.id for each in make_comparisons(session, project, 7)]
    assert [answer_next(session, people[0], SKIP) for _ in range(8)] == [*pairs, None]


@pytest.mark.parametrize(
    ("abilities", "handed_out"),
    [(None, [0, 1, 2]), ([], [0]), (["ko"], [0, 1]), (["ko", "medicine", "law"], [0, 1, 2]), (["medicine"], [0])],
)
def test_only_what_a_person_may_judge_is_handed_out(
    session: Session, project: Project, people: list[Access], abilities: list[str] | None, handed_out: list[int]
) -> None:
    alice = people[0]
    pairs = make_comparisons(session, project, 3)
    pairs[1].needs, pairs[2].needs = ["ko"], ["ko", "medicine"]
    alice.person.abilities = abilities
    session.flush()
    got = [answer_next(session, alice) for _ in range(4)]
    assert got == [pairs[n].id for n in handed_out] + [None] * (4 - len(handed_out))
