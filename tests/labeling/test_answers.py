"""An answer is kept exactly once, as it was meant; it can be undone while nothing holds it, and always corrected."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.errors import BadInput, Conflict, Gone, NotFound
from app.labeling import answers, leases
from app.labeling.answers import Spoken
from app.labeling.meaning import handles
from app.models import Answer, Assignment, GuidelineVersion, Run, Snapshot, SnapshotAnswer, Standing, now
from tests.labeling.pairs import LEFT, RIGHT, SKIP, access_of, lapse, make_comparison, make_comparisons, meant
from tests.people import make_person, make_project


def desk(session: Session, **policy: Any) -> tuple[Access, Assignment]:
    """Alice with a comparison before her, in a project that asks what `policy` says."""
    project = make_project(session)
    project.labeling = policy
    make_comparison(session, project)
    alice = access_of(session, make_person(session, "alice", "annotator"), project)
    assignment = leases.claim(session, alice)
    assert assignment is not None
    return alice, assignment


def count(session: Session) -> int:
    return session.scalars(select(func.count()).select_from(Answer)).one()


@pytest.mark.parametrize("shown_left", ["a", "b"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_side_is_stored_as_the_response_that_stood_there(session: Session, shown_left: str, side: str) -> None:
    alice, assignment = desk(session)
    assignment.shown_left = shown_left
    session.flush()
    answer = answers.record(session, alice, assignment.id, Spoken("preferred", side, 3))
    left_one, right_one = ("a", "b") if shown_left == "a" else ("b", "a")
    assert meant(answer) == ("preferred", left_one if side == "left" else right_one, 3)


def test_a_response_may_be_named_by_its_id(session: Session) -> None:
    alice, assignment = desk(session)
    b = handles(assignment.id)[assignment.shown_left == "a"]
    assert answers.record(session, alice, assignment.id, Spoken("preferred", b, 1)).preferred == "b"


def test_it_keeps_everything_that_was_said_and_under_which_guidelines(session: Session) -> None:
    alice, assignment = desk(session, criteria=["honest", "warm"])
    assignment.shown_left = "b"
    alice.project.guidelines.append(GuidelineVersion(version=2, text="Prefer the shorter one."))
    session.flush()
    spoken = Spoken(
        "both_bad",
        rationale="  Both are\r\nwrong. ",
        flags=["broken", "harmful", "broken"],
        criteria={"honest": "left", "warm": "tie"},
        seconds=12.5,
        source="page",
    )
    answer = answers.record(session, alice, assignment.id, spoken)
    assert (answer.rationale, answer.flags, answer.criteria) == (
        "Both are\nwrong.",
        ["harmful", "broken"],
        {"honest": "b", "warm": "tie"},
    )
    assert (answer.guideline_version, answer.seconds_client, answer.source) == (2, 12.5, "page")
    assert answer.seconds_server is not None
    assert 0 <= answer.seconds_server < 60
    assert not answer.simulated
    assert (assignment.status, assignment.comparison.status) == ("answered", "complete")


def test_simulated_annotators_are_marked(session: Session) -> None:
    alice, assignment = desk(session)
    alice.person.kind = "simulated"
    assert answers.record(session, alice, assignment.id, LEFT).simulated


def test_the_same_again_is_the_same_answer_whatever_the_time_it_took(session: Session) -> None:
    alice, assignment = desk(session)
    first = answers.record(session, alice, assignment.id, replace(LEFT, seconds=3.0))
    again = answers.record(session, alice, assignment.id, replace(LEFT, seconds=4.0))
    assert again is first
    assert (again.seconds_client, again.revision, count(session)) == (3.0, 1, 1)


@pytest.mark.parametrize(
    "other", [RIGHT, replace(LEFT, strength=1), replace(LEFT, flags=["harmful"]), replace(LEFT, rationale="Because.")]
)
def test_another_answer_is_a_conflict_and_changes_nothing(session: Session, other: Spoken) -> None:
    alice, assignment = desk(session)
    first = answers.record(session, alice, assignment.id, LEFT)
    said = meant(first)
    with pytest.raises(Conflict, match="already, and differently"):
        answers.record(session, alice, assignment.id, other)
    assert (meant(first), first.flags, first.rationale, count(session)) == (said, [], "", 1)


def test_a_lapsed_or_released_lease_is_accepted_while_nobody_took_its_place(session: Session) -> None:
    alice, assignment = desk(session)
    lapse(session, assignment)
    assert answers.record(session, alice, assignment.id, LEFT).id
    other = make_comparison(session, alice.project, "And a bird?")
    released = leases.claim(session, alice)
    assert released is not None
    leases.release(session, alice, released)
    assert answers.record(session, alice, released.id, LEFT).comparison_id == other.id


def test_a_lapsed_lease_that_somebody_took_is_gone(session: Session) -> None:
    alice, assignment = desk(session)
    lapse(session, assignment)
    bob = access_of(session, make_person(session, "bob", "annotator"), alice.project)
    taken = leases.claim(session, bob)
    assert taken is not None
    with pytest.raises(Gone):
        answers.record(session, alice, assignment.id, LEFT)
    answers.record(session, bob, taken.id, LEFT)
    with pytest.raises(Gone):
        answers.record(session, alice, assignment.id, LEFT)
    assert count(session) == 1


def test_a_lapsed_lease_is_accepted_after_the_other_one_skipped(session: Session) -> None:
    alice, assignment = desk(session)
    lapse(session, assignment)
    bob = access_of(session, make_person(session, "bob", "annotator"), alice.project)
    taken = leases.claim(session, bob)
    assert taken is not None
    answers.record(session, bob, taken.id, SKIP)
    assert answers.record(session, alice, assignment.id, LEFT).id


def test_a_withdrawn_comparison_is_gone(session: Session) -> None:
    alice, assignment = desk(session)
    assignment.comparison.status = "withdrawn"
    session.flush()
    with pytest.raises(Gone, match="withdrawn"):
        answers.record(session, alice, assignment.id, LEFT)


@pytest.mark.parametrize(
    ("policy", "spoken", "sentence"),
    [
        ({}, Spoken("better"), "verdict must be one of"),
        ({}, Spoken("preferred", None, 1), "must be the id of the better response"),
        ({}, Spoken("preferred", "0", 1), "must be the id of the better response"),
        ({}, Spoken("preferred", "left"), "from 1 .slightly. to 3"),
        ({}, Spoken("preferred", "left", 4), "from 1 .slightly. to 3"),
        ({"strengths": 2}, Spoken("preferred", "left", 3), "from 1 .slightly. to 2"),
        ({"strengths": 1}, Spoken("preferred", "left", 2), "strength must be 1 in this project"),
        ({}, Spoken("tie", strength=1), "strength belongs to the verdict preferred"),
        ({}, Spoken("tie", "left"), "preferred belongs to the verdict preferred"),
        ({}, Spoken("tie", skip_reason="long"), "skip_reason belongs to the verdict skipped"),
        ({}, Spoken("tie", flags=["rude"]), "'rude' is not a flag"),
        ({}, Spoken("tie", criteria={"honest": "left"}), "'honest' is not a criterion"),
        ({"criteria": ["honest"]}, Spoken("tie", criteria={"honest": "yes"}), "id of a response or tie"),
        ({"rationale": "required"}, LEFT, "asks for a reason"),
        ({"rationale": "required"}, replace(LEFT, rationale=" \n"), "asks for a reason"),
        ({"rationale": "off"}, replace(LEFT, rationale="Why"), "asks for no reason"),
        ({}, replace(LEFT, rationale="x" * 10_001), "at most 10,000"),
        ({}, replace(LEFT, rationale="a\x00b"), "NUL"),
        ({}, replace(LEFT, rationale="a\ud800b"), "surrogate"),
        (
            {},
            replace(SKIP, skip_reason="My neighbour wrote it"),
            "Known are too_long, language, unclear, ups",
        ),
    ],
)
def test_what_the_project_does_not_ask_is_refused(
    session: Session, policy: dict[str, Any], spoken: Spoken, sentence: str
) -> None:
    alice, assignment = desk(session, **policy)
    with pytest.raises(BadInput, match=sentence):
        answers.record(session, alice, assignment.id, spoken)
    assert count(session) == 0


def test_a_project_with_one_step_needs_no_strength(session: Session) -> None:
    alice, assignment = desk(session, strengths=1)
    assert answers.record(session, alice, assignment.id, Spoken("preferred", "left")).strength == 1


def test_a_skip_needs_no_rationale_where_choices_do(session: Session) -> None:
    alice, assignment = desk(session, rationale="required")
    assert answers.record(session, alice, assignment.id, SKIP).skip_reason == "too_long"


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan"), 1e9])
def test_a_time_that_cannot_be_is_not_kept(session: Session, seconds: float) -> None:
    alice, assignment = desk(session)
    assert answers.record(session, alice, assignment.id, replace(LEFT, seconds=seconds)).seconds_client is None


def test_nobody_answers_for_somebody_else_or_in_another_project(session: Session) -> None:
    alice, assignment = desk(session)
    bob = access_of(session, make_person(session, "bob", "annotator"), alice.project)
    elsewhere = access_of(session, alice.person, make_project(session, "other"))
    for stranger in (bob, elsewhere):
        with pytest.raises(NotFound):
            answers.record(session, stranger, assignment.id, LEFT)
        with pytest.raises(NotFound):
            answers.undo(session, stranger, assignment.id)


def test_an_answer_starts_training_when_that_is_due(session: Session) -> None:
    alice, assignment = desk(session)
    alice.project.retraining = {"every": 1}
    answers.record(session, alice, assignment.id, LEFT)
    assert session.scalars(select(Run.kind).where(Run.trigger == "labels")).all() == ["chain"]


def test_undo_gives_the_pair_back_to_the_same_person_on_the_same_sides(session: Session) -> None:
    alice, assignment = desk(session)
    make_comparisons(session, alice.project, 2)
    shown = assignment.shown_left
    answers.record(session, alice, assignment.id, LEFT)
    following = leases.claim(session, alice)
    assert following is not None
    undone = answers.undo(session, alice, assignment.id)
    assert (undone.verdict, count(session)) == ("preferred", 0)
    again = leases.claim(session, alice)
    assert again is not None
    assert (again.id, again.shown_left, again.comparison.status) == (assignment.id, shown, "waiting")
    assert following.status == "released"
    answers.record(session, alice, assignment.id, RIGHT)
    assert count(session) == 1
    with pytest.raises(NotFound, match="no answer here"):
        answers.undo(session, alice, following.id)


def held_in_a_snapshot(session: Session, answer: Answer) -> Snapshot:
    snapshot = Snapshot(project_id=answer.project_id, sha256="c0ffee" * 10, url="file:///s", manifest={})
    session.add(snapshot)
    session.flush()
    session.add(SnapshotAnswer(snapshot_id=snapshot.id, answer_id=answer.id, revision=answer.revision))
    session.flush()
    return snapshot


def test_an_answer_in_a_snapshot_is_corrected_not_undone(session: Session) -> None:
    alice, assignment = desk(session)
    answer = answers.record(session, alice, assignment.id, LEFT)
    snapshot = held_in_a_snapshot(session, answer)
    with pytest.raises(Conflict, match=f"Snapshot {snapshot.id} .c0ffeec0ffee. holds this answer"):
        answers.undo(session, alice, assignment.id)
    before = answer.preferred
    corrected = answers.correct(session, alice, answer.id, RIGHT)
    assert (corrected.preferred != before, corrected.revision, count(session)) == (True, 2, 1)
    assert session.scalars(select(SnapshotAnswer.revision)).one() == 1


def test_correcting_to_the_same_is_no_revision(session: Session) -> None:
    alice, assignment = desk(session)
    answer = answers.record(session, alice, assignment.id, LEFT)
    assert answers.correct(session, alice, answer.id, LEFT).revision == 1


def test_correcting_into_a_skip_lets_the_comparison_wait_again(session: Session) -> None:
    alice, assignment = desk(session)
    answer = answers.record(session, alice, assignment.id, LEFT)
    answers.correct(session, alice, answer.id, SKIP)
    assert assignment.comparison.status == "waiting"
    answers.correct(session, alice, answer.id, LEFT)
    assert assignment.comparison.status == "complete"


def test_a_skip_whose_place_was_filled_can_neither_be_undone_nor_become_a_choice(session: Session) -> None:
    alice, assignment = desk(session)
    skip = answers.record(session, alice, assignment.id, SKIP)
    bob = access_of(session, make_person(session, "bob", "annotator"), alice.project)
    taken = leases.claim(session, bob)
    assert taken is not None
    answers.record(session, bob, taken.id, LEFT)
    with pytest.raises(Conflict, match="Others have answered"):
        answers.correct(session, alice, skip.id, LEFT)
    with pytest.raises(Conflict, match="Others have answered"), session.begin_nested():
        answers.undo(session, alice, assignment.id)
    assert count(session) == 2


def test_only_the_author_corrects(session: Session) -> None:
    alice, assignment = desk(session)
    answer = answers.record(session, alice, assignment.id, LEFT)
    bob = access_of(session, make_person(session, "bob", "annotator"), alice.project)
    with pytest.raises(NotFound):
        answers.correct(session, bob, answer.id, RIGHT)


def test_what_was_complete_stays_so_when_more_answers_are_asked_until_one_is_gone(session: Session) -> None:
    alice, assignment = desk(session)
    answer = answers.record(session, alice, assignment.id, LEFT)
    alice.project.labels_per_comparison = 2
    answers.correct(session, alice, answer.id, Spoken("tie"))
    assert assignment.comparison.status == "complete"
    answers.undo(session, alice, assignment.id)
    assert assignment.comparison.status == "waiting"


def test_undo_while_paused_takes_the_answer_back_and_holds_nothing(session: Session) -> None:
    alice, assignment = desk(session)
    answers.record(session, alice, assignment.id, LEFT)
    because = {"paused_at": now(), "paused_because": "Slow down.", "decided_by_id": alice.person.id}
    session.add(Standing(project_id=alice.project.id, user_id=alice.person.id, **because))
    session.flush()
    answers.undo(session, alice, assignment.id)
    assert (assignment.status, assignment.undone, assignment.comparison.status) == ("released", 1, "waiting")
