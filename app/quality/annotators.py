"""How each annotator answers: agreement with the others, sides, repeats, pace, skips; each with its interval."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from app.quality.given import Given, consensus
from app.quality.shares import Share

LONGEST_PAUSE = 600.0
"""Seconds that one answer counts at most in answers per hour: who went for a walk did not work slowly."""


@dataclass(frozen=True)
class Figures:
    """One annotator's figures, or those of all together."""

    answers: int
    agrees: Share
    """With what the others' answers to the same comparison come to, their own left out."""
    gold: Share
    """Gave the expected answer to gold comparisons."""
    gold_a_minute: float | None
    """How many of those in a minute of work on gold comparisons: who hurries must still be right."""
    left: Share
    """Preferred the response that stood on the left."""
    consistent: Share
    """Said the same of two responses when they came a second time."""
    swapped: Share
    """The same, where the sides had changed."""
    skipped: Share
    corrected: Share
    """Changed after it was given."""
    undone: Share
    """Taken back, of all that was answered. A pair that was not answered again is not counted."""
    seconds: float | None
    """The median."""
    seconds_server: float | None
    """The median from claim to answer."""
    per_hour: float | None


def figures_of(answers: Sequence[Given], known: dict[int, list[Given]]) -> Figures:
    """The figures of some answers, newest first; `known`: the counting answers, by comparison, that decide there."""
    times = [answer.seconds for answer in answers if answer.seconds is not None]
    spent = sum(min(seconds, LONGEST_PAUSE) for seconds in times)
    sides = [answer for answer in answers if answer.preferred and answer.shown_left]
    again = list(_repeats(answers))
    golds = right(answers)
    undone = sum(answer.undone for answer in answers)
    return Figures(
        answers=len(answers),
        agrees=_share(agreeing(answers, known).values()),
        gold=_share(golds.values()),
        gold_a_minute=_a_minute(golds),
        left=_share(answer.preferred == answer.shown_left for answer in sides),
        consistent=_share(same for same, _swapped in again),
        swapped=_share(same for same, swapped in again if swapped),
        skipped=_share(answer.verdict == "skipped" for answer in answers),
        corrected=_share(answer.revision > 1 for answer in answers),
        undone=Share(undone, len(answers) + undone),
        seconds=_middle(answer.seconds for answer in answers),
        seconds_server=_middle(answer.seconds_server for answer in answers),
        per_hour=3600 * len(times) / spent if spent > 0 else None,
    )


def by_person(answers: Iterable[Given]) -> dict[int, list[Given]]:
    """Each person's answers, newest first; the most recent person first."""
    found: dict[int, list[Given]] = defaultdict(list)
    for answer in answers:
        found[answer.person].append(answer)
    return found


def agreeing(answers: Iterable[Given], known: dict[int, list[Given]]) -> dict[Given, bool]:
    """Whether each counting answer is what the other people's come to, where they come to anything.

    Who adjudicated saw what the others had said, so that agreement says nothing.
    """
    found = {}
    for answer in answers:
        if answer.counts and not answer.adjudicates:
            said = known.get(answer.comparison, [])
            theirs = consensus([other for other in said if other.person != answer.person])
            if theirs is not None:
                found[answer] = answer.choice == theirs
    return found


def right(answers: Iterable[Given]) -> dict[Given, bool]:
    """Whether each counting answer to a gold comparison is the expected one."""
    return {answer: answer.choice == answer.expected for answer in answers if answer.counts and answer.expected}


def _a_minute(golds: dict[Given, bool]) -> float | None:
    timed = {answer: min(answer.seconds, LONGEST_PAUSE) for answer in golds if answer.seconds is not None}
    spent = sum(timed.values())
    return 60 * sum(golds[answer] for answer in timed) / spent if spent > 0 else None


def _repeats(answers: Iterable[Given]) -> Iterable[tuple[bool, bool]]:
    """For everything that somebody said of two responses again: was it the same, and had they changed sides?"""
    earlier: dict[tuple[int, tuple[int, int]], Given] = {}
    for answer in answers:
        key = answer.person, answer.pair
        if answer.counts and not answer.adjudicates:
            if key in earlier:
                yield answer.lasting == earlier[key].lasting, {_left(answer), _left(earlier[key])} == {True, False}
            earlier[key] = answer


def _left(answer: Given) -> bool | None:
    """Whether the response with the lower id stood on the left."""
    return None if answer.shown_left is None else answer.shown_left == answer.first


def _share(hits: Iterable[bool]) -> Share:
    found = list(hits)
    return Share(sum(found), len(found))


def _middle(times: Iterable[float | None]) -> float | None:
    known = [time for time in times if time is not None]
    return median(known) if known else None
