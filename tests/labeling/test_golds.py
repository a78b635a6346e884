"""Gold comparisons slip in between others at the project's rate; nothing tells them apart or learns of them."""

from datetime import UTC, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.datasets import snapshots
from app.datasets.filters import Filters
from app.errors import Conflict
from app.labeling import answers, comparisons, golds, history, leases, slips
from app.lists import Asked
from app.models import Answer, Project, Snapshot, User, now
from app.runs import due
from tests.labeling.pairs import (
    LEFT,
    SKIP,
    access_of,
    label,
    label_all,
    make_comparison,
    make_comparisons,
    make_gold,
    make_golds,
)
from tests.people import bearer, make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    """Half of the pairs are gold, while there is any."""
    project = make_project(session)
    project.labeling = {"gold": 50}
    return project


@pytest.fixture
def person(session: Session) -> User:
    return make_person(session, "alice", "annotator")


@pytest.fixture
def alice(session: Session, project: Project, person: User) -> Access:
    return access_of(session, person, project)


def gold_answer(session: Session) -> Answer:
    return session.scalars(select(Answer).where(Answer.measures)).one()


def slipped_in(session: Session, alice: Access) -> Any:
    """An assignment of a gold comparison, as the lot gives it; a pair waits beside it."""
    make_comparison(session, alice.project)
    make_gold(session, alice.project)
    return leases._lease(session, alice, slips.gold(session, alice))


def test_they_come_at_about_the_rate_and_only_in_the_place_of_a_pair_that_waits(
    session: Session, project: Project, alice: Access
) -> None:
    made = make_golds(session, project, 4)
    assert leases.claim(session, alice) is None
    assert comparisons.waiting(session, project.id) == 0
    drawn = [slips.draw(session, alice) for _lot in range(60)]
    # Half of sixty lots; fewer than 12 or more than 48 once in a million times.
    assert 12 <= sum(each is not None for each in drawn) <= 48
    assert {each[0].id for each in drawn if each is not None} == {each.id for each in made}


def test_each_comes_once_to_one_person(session: Session, project: Project, alice: Access) -> None:
    made = make_golds(session, project, 2)
    make_comparisons(session, project, 12)
    seen = [each.id for each in label_all(session, alice)]
    assert len(seen) == len(set(seen)), "none twice"
    assert 12 <= len(seen) <= 12 + len(made)


def test_without_a_rate_or_for_others_abilities_none_comes(session: Session, project: Project, alice: Access) -> None:
    gold = make_gold(session, project)
    gold.needs = ["ko"]
    alice.person.abilities = ["en"]
    session.flush()
    assert slips.gold(session, alice) is None
    alice.person.abilities = ["en", "ko"]
    assert slips.gold(session, alice) is gold
    project.labeling = {}
    assert all(slips.draw(session, alice) is None for _lot in range(10))


def test_who_judged_the_same_two_responses_before_does_not_get_them_as_gold(
    session: Session, project: Project, alice: Access
) -> None:
    first = make_comparison(session, project)
    assert label(session, alice) is first
    gold = golds.make(session, first, "preferred", "b")
    assert slips.gold(session, alice) is None
    bob = access_of(session, make_person(session, "bob", "annotator"), project)
    assert slips.gold(session, bob) is gold


def test_any_number_of_people_may_answer_one_and_it_stays_open(session: Session, project: Project) -> None:
    project.labeling = {"gold": 50, "qualification": 1, "qualification_share": 0}
    gold = make_gold(session, project)
    make_comparison(session, project)
    for number in range(3):
        someone = access_of(session, make_person(session, f"someone{number}", "annotator"), project)
        assert label(session, someone) is gold
    assert gold.status == "waiting"


def test_who_lets_one_go_finds_it_again_and_what_came_before_it_too(
    session: Session, project: Project, alice: Access
) -> None:
    slipped = slipped_in(session, alice)
    side = slipped.shown_left
    leases.release(session, alice, slipped)
    again = leases.claim(session, alice)
    assert (again.id, again.shown_left, again.status) == (slipped.id, side, "leased")
    again.leased_until = now() - timedelta(hours=1)
    session.flush()
    assert leases.claim(session, alice).id == slipped.id
    answers.record(session, alice, slipped.id, LEFT)
    project.labeling = {}
    ordinary = leases.claim(session, alice)
    project.labeling = {"gold": 50}
    make_golds(session, project, 2)
    for _ in range(10):
        leases.release(session, alice, ordinary)
        assert leases.claim(session, alice).id == ordinary.id, "another one would tell that it is gold"


def test_a_heartbeat_takes_one_back_and_an_undo_gives_it_again(
    session: Session, project: Project, alice: Access
) -> None:
    slipped = slipped_in(session, alice)
    leases.release(session, alice, slipped)
    assert leases.is_live(leases.heartbeat(session, alice, slipped))
    answers.record(session, alice, slipped.id, SKIP)
    answers.undo(session, alice, slipped.id)
    assert leases.claim(session, alice).id == slipped.id


def test_programs_see_the_same_fields_and_names_as_of_any_other(
    client: TestClient, session: Session, project: Project, alice: Access, person: User
) -> None:
    headers = bearer(session, person)
    project.labeling = {"gold": 50, "qualification": 1, "qualification_share": 0}
    make_comparison(session, project)
    make_gold(session, project)
    shapes = set()
    for _ in range(2):
        claimed = client.post("/api/v1/projects/garden/assignments", headers=headers).json()
        said = {"verdict": "preferred", "preferred": claimed["responses"][0]["id"], "strength": 2}
        stored = client.post(f"/api/v1/assignments/{claimed['assignment']}/answer", headers=headers, json=said).json()
        handles = tuple(each["id"].removeprefix(claimed["assignment"]) for each in claimed["responses"])
        shapes.add((tuple(claimed), tuple(stored), handles, stored["preferred"].removeprefix(claimed["assignment"])))
    assert set(session.scalars(select(Answer.measures))) == {True, False}
    assert shapes == {
        (
            ("assignment", "prompt", "responses", "expires_at"),
            tuple(stored),
            ("-1", "-2"),
            "-1",
        )
    }
    assert not {"purpose", "comparison", "measures", "expected"} & set(stored)


def test_an_answer_counts_as_the_persons_and_teaches_nothing(session: Session, project: Project, alice: Access) -> None:
    project.labeling = {"gold": 50, "qualification": 1, "qualification_share": 0}
    make_gold(session, project)
    make_comparison(session, project)
    label_all(session, alice)
    assert due.new_answers(session, project.id) == 1
    card = snapshots.take(session, project, Filters()).manifest
    assert (card["answers"], card["exclusions"]) == (
        1,
        [{"reason": "gold", "answers": 1, "why": "They answer gold comparisons, which test people."}],
    )
    chosen = snapshots.take(session, project, Filters(purposes=("gold",))).manifest
    assert (chosen["answers"], chosen["counts"]["purpose"]) == (1, {"gold": 1})


def test_a_snapshot_closes_them_like_all_others(session: Session, project: Project, alice: Access) -> None:
    slipped = slipped_in(session, alice)
    answers.record(session, alice, slipped.id, LEFT)
    answer = gold_answer(session)
    # A test is one transaction, in which the clock of the database stands.
    answer.created_at -= timedelta(minutes=1)
    session.flush()
    snapshots.take(session, project, Filters())
    assert all(line.held for line in history.listed(session, alice, history.Wanted(), UTC, Asked(), "").rows)
    with pytest.raises(Conflict, match="holds this answer"):
        answers.undo(session, alice, slipped.id)
    answer.created_at = now() + timedelta(minutes=1)
    session.flush()
    assert session.scalars(select(Snapshot)).one()
    answers.undo(session, alice, slipped.id)


def test_two_responses_have_one_known_answer_until_it_is_ended(session: Session, project: Project) -> None:
    first = make_comparison(session, project)
    gold = golds.make(session, first, "tie", None)
    with pytest.raises(Conflict, match="already"):
        golds.make(session, first, "preferred", "a")
    assert golds.count(session, project) == 1
    golds.end(session, gold)
    assert golds.count(session, project) == 0
    assert golds.make(session, first, "preferred", "a").id != gold.id
    golds.end(session, first)
    assert first.status == "waiting", "only gold comparisons are ended"


def test_one_that_was_ended_is_taken_off_the_desk(session: Session, project: Project, alice: Access) -> None:
    slipped = slipped_in(session, alice)
    golds.end(session, slipped.comparison)
    session.flush()
    claimed = leases.claim(session, alice)
    assert claimed is not None
    assert not claimed.comparison.measures


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("purpose = 'gold'", "gold_has_an_answer"),
        ("expected_verdict = 'tie'", "gold_has_an_answer"),
        ("purpose = 'gold', expected_verdict = 'skipped'", "known_expected_verdict"),
        ("purpose = 'gold', expected_verdict = 'preferred'", "expected_says_which"),
        ("purpose = 'gold', expected_verdict = 'tie', expected_preferred = 'a'", "expected_says_which"),
        ("asks_id = (select min(id) from users)", "only_repeats_ask_one_person"),
    ],
)
def test_the_database_itself_refuses_gold_without_a_known_answer(
    session: Session, project: Project, alice: Access, change: str, rule: str
) -> None:
    make_comparison(session, project)
    with pytest.raises(IntegrityError, match=rule), session.begin_nested():
        session.execute(text(f"update comparisons set {change}"))
