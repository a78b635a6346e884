"""What a reward model is worth, in figures with their uncertainty, and whether PPO may start from it."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from workers.reward.loss import Floats, Integers

CHANCE = 0.5


def wilson(successes: float, trials: float, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (Wilson 1927); 95 % by default, (0, 1) without trials."""
    if trials <= 0:
        return 0.0, 1.0
    p = successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    return max(0.0, centre - half), min(1.0, centre + half)


def wilson_clustered(rates: Floats, most: int) -> tuple[float, float]:
    """Return the Wilson interval of the mean of per-prompt rates [P], each from `most` answers that belong together.

    The number of trials is the one that binomial draws would need for the same spread of the mean (Kish's effective
    sample size): from one per prompt, if all answers to a prompt win or lose together, to `most` per prompt.
    """
    count, mean = len(rates), float(rates.mean())
    variance = float(rates.var(ddof=1)) / count if count > 1 else 0.0
    trials = mean * (1 - mean) / variance if variance > 0 else math.inf
    trials = min(max(trials, count), count * most)
    return wilson(mean * trials, trials)


def accuracy(delta: Floats, preferred_a: Floats, weight: Floats) -> float:
    """Return the weighted share of answers whose side has the higher score; equal scores count half."""
    right = np.where(delta == 0, 0.5, (delta > 0) == (preferred_a > 0.5))
    return float(weight @ right / weight.sum())


def log_loss(probability: Floats, preferred_a: Floats, weight: Floats) -> float:
    """Return the mean negative log-likelihood in nats of decisive answers; ln 2 = 0.693 is a coin's."""
    p = np.clip(np.where(preferred_a > 0.5, probability, 1 - probability), 1e-12, 1.0)
    return float(-(weight @ np.log(p)) / weight.sum())


def brier(probability: Floats, preferred_a: Floats, weight: Floats) -> float:
    """Return the mean squared error of the probability (Brier 1950); 0.25 is a coin's."""
    return float(weight @ (probability - preferred_a) ** 2 / weight.sum())


def calibration_error(probability: Floats, preferred_a: Floats, weight: Floats, bins: int = 10) -> float:
    """Return the expected calibration error: how far stated confidence and accuracy lie apart, mean over 10 bins.

    Each prediction is turned so that its confidence is at least one half; the bins divide [0.5, 1] evenly.
    """
    confidence = np.maximum(probability, 1 - probability)
    right = np.where(probability == 0.5, 0.5, (probability > 0.5) == (preferred_a > 0.5))
    index = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    gap = np.bincount(index, weight * (confidence - right), bins)
    return float(np.abs(gap).sum() / weight.sum())


def length_baseline(longer: Floats, preferred_a: Floats, weight: Floats) -> float:
    """Return the accuracy of the better of two rules: always the longer, or always the shorter answer.

    `longer` [N] is the length of a minus that of b; equal lengths count half.
    """
    share = accuracy(longer, preferred_a, weight)
    return max(share, 1 - share)


def spearman(x: Floats, y: Floats) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; 0 where one of the two does not vary."""
    a, b = _ranks(x), _ranks(y)
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm else 0.0


def agreement(decisive: Iterable[tuple[int, bool]]) -> tuple[float, int] | None:
    """Return how often two people's decisive answers to one pair agree, and how many such twos there are.

    `decisive` lists (pair, a preferred?). None where nobody answered what somebody else had answered.
    """
    votes: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for pair, preferred_a in decisive:
        votes[pair][preferred_a] += 1
    same = sum(math.comb(a, 2) + math.comb(b, 2) for a, b in votes.values())
    both = sum(math.comb(a + b, 2) for a, b in votes.values())
    return (same / both, both) if both else None


def ceiling(agree: float) -> float:
    """Return the accuracy that a perfect model would reach if two people agree with probability `agree`.

    With each person right with probability q, two agree with q^2 + (1 - q)^2.
    """
    return (1 + math.sqrt(max(0.0, 2 * agree - 1))) / 2


def answers_needed(share: float) -> int | None:
    """Return from how many answers on an accuracy of `share` excludes chance; None if it never will (below 52 %)."""
    if share < 0.52:
        return None
    trials = 4
    while wilson(share * trials, trials)[0] <= CHANCE:
        trials += 1
    return trials


def gate(right: float, trials: float, baseline: float) -> tuple[bool, str]:
    """Decide whether PPO may start, with a sentence that says why or what to do.

    The Wilson interval of the out-of-fold accuracy must exclude chance, and the accuracy must reach what a rule that
    looks at length alone reaches.
    """
    share = right / trials
    low, high = wilson(right, trials)
    figures = f"{share:.0%} [{low:.0%}, {high:.0%}] over {trials:.0f} answers"
    if low <= CHANCE:
        needed = answers_needed(share)
        if needed is None:
            advice = "Label more, check that the guidelines lead to the same choices, or force the run."
        else:
            more = max(10, math.ceil((needed - trials) / 10) * 10)
            advice = f"Label about {more} more, or force the run."
        return False, f"The reward model's interval still includes chance: {figures}. {advice}"
    if share < baseline:
        return False, (
            f"The reward model ({figures}) does not beat a rule that only looks at length ({baseline:.0%}). "
            "Label more, or force the run if length is what you want."
        )
    return True, f"The reward model tells people's choices apart: {figures}; length alone reaches {baseline:.0%}."


def by_strength(right: Sequence[float], strength: Sequence[int | None]) -> dict[str, float]:
    """Return accuracy and count per strength of preference, as flat metrics."""
    groups: dict[int, list[float]] = defaultdict(list)
    for one, level in zip(right, strength, strict=True):
        if level is not None:
            groups[level].append(one)
    metrics = {f"accuracy_strength_{level}": sum(group) / len(group) for level, group in sorted(groups.items())}
    return metrics | {f"n_strength_{level}": float(len(group)) for level, group in sorted(groups.items())}


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: Integers = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)
