"""What DPO learns from: every answer that prefers one of two responses, and which of them only judge."""

from typing import NamedTuple

import numpy as np

from workers.reward.data import Preferences, folds
from workers.reward.loss import Floats, Integers

FEW_JUDGES = 20
"""With fewer choices about held-out prompts than this, a fold of the training prompts judges."""
FOLDS = 5


class Choices(NamedTuple):
    """A choices of one response over another."""

    pair: Integers
    """Which compared pair, [A]."""
    chosen: Integers
    """The preferred response, as an index into the responses, [A]."""
    rejected: Integers
    strength: Floats
    """Steps above "slightly better": 0 to 2, and 0 where no strength was given, [A]."""

    def where(self, wanted: np.ndarray) -> "Choices":
        """Return some of the choices; `wanted` is bool [A]."""
        return Choices(self.pair[wanted], self.chosen[wanted], self.rejected[wanted], self.strength[wanted])

    def about(self, pairs: Integers) -> "Choices":
        """Return the choices about some of the pairs."""
        return self.where(np.isin(self.pair, pairs))


def choices_of(preferences: Preferences) -> tuple[Choices, Choices]:
    """Return the choices that teach and those that judge: about held-out prompts, or a fold of the others if few are.

    Ties, "both bad" and the like say nothing about which of two is better and are left out. Raises ValueError if
    nothing is left to learn from.
    """
    answers = preferences.answers
    decisive = np.flatnonzero(answers.sign)
    pair, first = answers.pair[decisive], answers.sign[decisive] > 0
    a, b = preferences.first[pair], preferences.second[pair]
    strength = np.array([max(0, (answers.strength[index] or 1) - 1) for index in decisive], dtype=np.float64)
    every = Choices(pair, np.where(first, a, b), np.where(first, b, a), strength)
    judging = preferences.holdout[pair]
    teaching = ~judging
    if int(judging.sum()) < FEW_JUDGES and teaching.any():
        places = np.flatnonzero(teaching)
        judging = np.zeros(len(pair), bool)
        judging[places[folds(preferences.prompt[pair[places]], FOLDS) == 0]] = True
        teaching = teaching & ~judging
    if not teaching.any() or not judging.any():
        raise ValueError("All the answers are about too few prompts. Label pairs for more prompts, then try again.")
    return every.where(teaching), every.where(judging)
