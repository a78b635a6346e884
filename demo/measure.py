"""What changed between two sets of answers to the same prompts, in figures with their uncertainty."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from app.simulation.gold import Rule, words
from workers.reward.report import wilson

RESAMPLES = 2000


@dataclass(frozen=True)
class Sampled:
    """One answer of a model; `ended` says that the model closed it itself instead of reaching the token limit."""

    text: str
    ended: bool


Answers = Mapping[str, Sequence[Sampled]]
"""Prompt text to the answers that one model gave to it."""


@dataclass(frozen=True)
class Figures:
    """One model's answers, described: means over all of them, and the rule's score."""

    answers: int
    gold: float
    words: float
    words_spread: float
    ended: float
    distinct_2: float
    distinct_2_together: float


@dataclass(frozen=True)
class WinRate:
    """Share of pairings that the candidate wins, a draw counting half, with two 95 % intervals over prompts."""

    rate: float
    prompts: int
    pairings: int
    wilson_low: float
    wilson_high: float
    cluster_low: float
    cluster_high: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(answers: Answers, rule: Rule) -> Figures:
    """Return the figures of one model's answers; `words_spread` is the standard deviation."""
    texts = [one.text for given in answers.values() for one in given]
    lengths = [words(text) for text in texts]
    mean = fmean(lengths)
    return Figures(
        answers=len(texts),
        gold=fmean(rule.score(text) for text in texts),
        words=mean,
        words_spread=fmean((one - mean) ** 2 for one in lengths) ** 0.5,
        ended=fmean(one.ended for given in answers.values() for one in given),
        distinct_2=fmean(distinct([text]) for text in texts),
        distinct_2_together=distinct(texts),
    )


def distinct(texts: Sequence[str]) -> float:
    """Return the share of different word pairs among all word pairs of these texts; 1.0 if there are none.

    Within one text it falls when the text repeats itself, over many texts when they all say the same
    (distinct-2 of Li et al. 2016).
    """
    pairs = [pair for text in texts for pair in _word_pairs(text)]
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def _word_pairs(text: str) -> list[tuple[str, str]]:
    spoken = text.lower().split()
    return list(pairwise(spoken))


def win_rate(candidate: Answers, opponent: Answers, rule: Rule, seed: int = 1) -> WinRate:
    """Return how often the candidate's answer scores higher by the rule than the opponent's to the same prompt.

    Every answer of one is paired with every answer of the other to that prompt. Answers to one prompt resemble each
    other, so the prompt is the unit of both intervals: Wilson's with as many trials as there are prompts, and the
    percentiles of the mean over prompts drawn again with replacement.
    """
    rates = list(rule.win_rates(_texts(candidate), _texts(opponent)).values())
    low, high = wilson(sum(rates), len(rates))
    chance = random.Random(seed)
    means = sorted(fmean(chance.choices(rates, k=len(rates))) for _ in range(RESAMPLES))
    return WinRate(
        rate=fmean(rates),
        prompts=len(rates),
        pairings=sum(len(given) * len(opponent[prompt]) for prompt, given in candidate.items()),
        wilson_low=low,
        wilson_high=high,
        cluster_low=means[int(0.025 * RESAMPLES)],
        cluster_high=means[int(0.975 * RESAMPLES) - 1],
    )


def _texts(answers: Answers) -> dict[str, list[str]]:
    return {prompt: [one.text for one in given] for prompt, given in answers.items()}
