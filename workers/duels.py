"""Who wins between two policies, judged by a reward model: per prompt, at equal length, and where it got worse."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from workers.reward.loss import Floats

RESAMPLES = 400
"""Draws of the prompts, with replacement, behind an interval."""
WORST = 20
"""Prompts that got worse, as many as are listed."""


class Answers(NamedTuple):
    """What one policy said to P prompts, K answers each."""

    scores: Floats
    """Normalised rewards, [P, K]."""
    lengths: Floats
    """Tokens, [P, K]."""
    ended: float
    """Share that came to an end by itself."""
    repetition: float
    """Share of an answer's trigrams that it had said before, on average."""
    distinct: float
    """Share of different trigrams among all first answers' trigrams."""
    texts: list[str]
    """The first answer to each prompt."""


def win_matrix(ours: Floats, theirs: Floats) -> Floats:
    """Return the share of wins per prompt, [P], from scores [P, K]: every answer against every one; equal is half."""
    lead = ours[:, :, None] - theirs[:, None, :]
    return np.asarray(((lead > 0) + 0.5 * (lead == 0)).mean((1, 2)), dtype=np.float64)


def length_controlled(ours: Answers, theirs: Answers) -> float:
    """Return the win rate at equal length: logistic regression of winning on the difference in length, at 0.

    The idea of AlpacaEval's length-controlled win rate (Dubois et al. 2024), with one covariate.
    """
    return float(_at_equal_length(ours, theirs, np.ones((1, len(ours.scores))))[0])


def length_controlled_interval(ours: Answers, theirs: Answers) -> tuple[float, float]:
    """Return the 95 % interval of the same: percentiles over RESAMPLES draws of the prompts (Efron's bootstrap).

    Prompts are drawn, not duels, because the answers to one prompt win or lose together.
    """
    count = len(ours.scores)
    drawn = np.random.default_rng(1).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)
    # So many draws at once that all their duels fit into memory many times over.
    at_once = max(1, 1_000_000 // (ours.scores.size * theirs.scores.shape[1]))
    parts = [drawn[start : start + at_once] for start in range(0, RESAMPLES, at_once)]
    low, high = np.quantile(np.concatenate([_at_equal_length(ours, theirs, part) for part in parts]), [0.025, 0.975])
    return float(low), float(high)


def _at_equal_length(ours: Answers, theirs: Answers, weights: Floats) -> Floats:
    """Return the win rate at equal length, [B], with each prompt counted as often as weights [B, P] say.

    Newton's method on the log-likelihood with a ridge of 1 on both parameters, so that a clean sweep stays finite.
    """
    lead = ours.scores[:, :, None] - theirs.scores[:, None, :]
    longer = ours.lengths[:, :, None] - theirs.lengths[:, None, :]
    longer = longer / (longer.std() + 1e-6)
    decided, won = lead != 0, lead > 0
    theta = np.zeros((len(weights), 2))
    for _ in range(12):
        p = 1 / (1 + np.exp(-(theta[:, 0, None, None, None] + theta[:, 1, None, None, None] * longer)))
        off, curve = np.where(decided, won - p, 0.0), np.where(decided, p * (1 - p), 0.0)
        slope = [np.einsum("bp,bpij->b", weights, off * by) - theta[:, at] for at, by in enumerate((1.0, longer))]
        h00, h01, h11 = (np.einsum("bp,bpij->b", weights, curve * by) for by in (1.0, longer, longer**2))
        h00, h11 = h00 + 1, h11 + 1
        determinant = h00 * h11 - h01**2
        theta[:, 0] += (h11 * slope[0] - h01 * slope[1]) / determinant
        theta[:, 1] += (h00 * slope[1] - h01 * slope[0]) / determinant
    return np.asarray(1 / (1 + np.exp(-theta[:, 0])))


def regressions(prompts: Sequence[str], ours: Answers, theirs: Answers) -> list[dict[str, Any]]:
    """Return the prompts that got worse, the worst first: lost more duels than won, and a lower mean reward.

    Each is `{"prompt", "win_rate", "reward", "reward_before", "before", "after"}`, the texts those of first answers.
    """
    rates, now, then = win_matrix(ours.scores, theirs.scores), ours.scores.mean(1), theirs.scores.mean(1)
    worse = np.flatnonzero((rates < 0.5) & (now < then))
    order = worse[np.argsort((now - then)[worse], kind="stable")][:WORST]
    return [
        {
            "prompt": prompts[index],
            "win_rate": float(rates[index]),
            "reward": float(now[index]),
            "reward_before": float(then[index]),
            "before": theirs.texts[index],
            "after": ours.texts[index],
        }
        for index in order
    ]


def worse_share(ours: Answers, theirs: Answers) -> float:
    """Return the share of prompts that got worse, in the sense of `regressions`."""
    rates = win_matrix(ours.scores, theirs.scores)
    return float(((rates < 0.5) & (ours.scores.mean(1) < theirs.scores.mean(1))).mean())
