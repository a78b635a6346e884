"""An annotator's figures, by answers that can be counted on fingers."""

from datetime import timedelta

import pytest

from app.quality.annotators import agreeing, by_person, figures_of
from app.quality.disagreements import disagree
from app.quality.given import by_comparison, consensus
from app.quality.weeks import lines_of, weeks_of
from tests.quality.scene import MONDAY, given

ALICE, BOB, CAROL, DORA = 1, 2, 3, 4


def test_the_consensus_is_what_most_say_and_nothing_where_it_is_split() -> None:
    assert consensus([given(ALICE, 1, "a1"), given(BOB, 1, "a3"), given(CAROL, 1, "b2")]) == "a"
    assert consensus([given(ALICE, 1, "a1"), given(BOB, 1, "b3")]) is None
    assert consensus([given(ALICE, 1, "tie"), given(BOB, 1, "tie"), given(CAROL, 1, "both_bad")]) == "tie"
    assert consensus([]) is None


def test_who_adjudicates_decides_against_any_majority_and_the_newest_of_them_does() -> None:
    people = [given(ALICE, 1, "a1"), given(BOB, 1, "a3")]
    first, second = given(CAROL, 1, "b1", adjudicates=True), given(DORA, 1, "tie", adjudicates=True)
    assert consensus([first, *people]) == "b"
    assert consensus([second, first, *people]) == "tie"


def test_agreement_with_the_others_leaves_ones_own_answer_out() -> None:
    said = [
        *(given(ALICE, 1, "a1"), given(BOB, 1, "a2"), given(CAROL, 1, "a3")),
        *(given(ALICE, 2, "b1"), given(BOB, 2, "a2"), given(CAROL, 2, "a3")),
        # Of two who differ neither has a majority against themselves; each is against the one other.
        *(given(ALICE, 3, "a1"), given(BOB, 3, "b1")),
        # Nobody else answered the fourth, and a skip says nothing.
        *(given(ALICE, 4, "a1"), given(BOB, 4, "skipped")),
    ]
    figures = figures_of(by_person(said)[ALICE], by_comparison(said))
    assert (figures.agrees.hits, figures.agrees.trials) == (1, 3)
    assert figures.answers == 4


def test_who_adjudicated_neither_agrees_nor_disagrees_but_decides_whether_others_do() -> None:
    people = [given(ALICE, 1, "a1"), given(BOB, 1, "b1"), given(DORA, 1, "b1")]
    said = [given(CAROL, 1, "b1", adjudicates=True), *people]
    assert {answer.person: agrees for answer, agrees in agreeing(said, by_comparison(said)).items()} == {
        ALICE: False,
        BOB: True,
        DORA: True,
    }


def test_the_left_is_the_side_it_was_shown_on() -> None:
    said = [
        given(ALICE, 1, "a1", shown_left="a"),
        given(ALICE, 2, "a1", shown_left="b"),
        given(ALICE, 3, "b1", shown_left="b"),
        given(ALICE, 4, "tie", shown_left="a"),
        given(ALICE, 5, "b1", shown_left=None),
    ]
    left = figures_of(said, {}).left
    assert (left.hits, left.trials) == (2, 3)


def test_the_same_again_is_about_the_responses_whatever_their_names_and_sides() -> None:
    said = [
        # Newest first. Responses 2 and 3: the first one, then again under the other name, sides changed.
        given(ALICE, 9, "b1", pair=(2, 3), first="b", shown_left="a"),
        given(ALICE, 1, "a3", pair=(2, 3), first="a", shown_left="a"),
        # Responses 4 and 5: another one, on the same sides.
        given(ALICE, 8, "b1", pair=(4, 5), shown_left="a"),
        given(ALICE, 2, "a1", pair=(4, 5), shown_left="a"),
        # Somebody else's answer about 6 and 7 is no repeat.
        given(ALICE, 7, "a1", pair=(6, 7)),
        given(BOB, 3, "b1", pair=(6, 7)),
    ]
    figures = figures_of(said, {})
    assert (figures.consistent.hits, figures.consistent.trials) == (1, 2)
    assert (figures.swapped.hits, figures.swapped.trials) == (1, 1)


def test_pace_skips_and_corrections() -> None:
    said = [
        given(ALICE, 1, "a1", seconds_client=10.0, seconds_server=11.0),
        given(ALICE, 2, "skipped", seconds_client=None, seconds_server=20.0),
        given(ALICE, 3, "b1", seconds_client=3000.0, seconds_server=3001.0, revision=2),
    ]
    figures = figures_of(said, {})
    assert (figures.seconds, figures.seconds_server) == (20.0, 20.0)
    # Three answers in 10 + 20 + 600 seconds: the walk counts ten minutes.
    assert figures.per_hour == pytest.approx(3600 * 3 / 630)
    assert (figures.skipped.hits, figures.corrected.hits) == (1, 1)
    nothing = figures_of([], {})
    assert (nothing.seconds, nothing.per_hour, nothing.left.value) == (None, None, None)


@pytest.mark.parametrize(
    ("said", "split"),
    [
        (("a1", "b1"), True),
        (("a1", "a3"), False),
        (("tie", "a3"), True),
        (("tie", "b2"), False),
        (("tie", "both_bad"), False),
        (("both_bad", "a3"), False),
        (("a1", "a1", "b1"), True),
    ],
)
def test_people_disagree_where_both_were_preferred_or_the_same_was_much_better(
    said: tuple[str, ...], split: bool
) -> None:
    answers = [given(person, 1, words) for person, words in enumerate(said)]
    assert disagree(answers) is split
    assert disagree([given(DORA, 1, "a1", adjudicates=True), *answers]) is False


def test_weeks_begin_on_monday_and_lines_run_from_the_first_to_the_last() -> None:
    sunday, next_monday = MONDAY + timedelta(days=6), MONDAY + timedelta(days=14)
    said = [
        given(ALICE, 1, "a1", created=MONDAY, seconds_client=10.0),
        given(ALICE, 2, "a1", created=sunday, seconds_client=30.0),
        given(ALICE, 3, "a1", created=next_monday, seconds_client=40.0),
        *(given(BOB, 1, "a1"), given(BOB, 2, "b1"), given(BOB, 3, "a1")),
    ]
    weeks = weeks_of(by_person(said)[ALICE], by_comparison(said))
    assert [(week.monday.day, week.answers, week.seconds) for week in weeks] == [(2, 2, 20.0), (16, 1, 40.0)]
    assert [week.agrees.value for week in weeks] == [0.5, 1.0]
    agreement, pace = lines_of(weeks)
    assert [at for _monday, at in agreement.points] == [50.0, 100.0]
    assert agreement.band
    # From left to right, and the higher value is higher up.
    assert pace.line == "M6.0,112.0L250.0,20.0"
    assert (pace.low, pace.high, pace.band) == (20.0, 40.0, "")
    assert lines_of(weeks[:1]) == []
