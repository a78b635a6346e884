"""What a reward model is worth, in figures with their uncertainty, and whether PPO may start from it."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np

from workers.reward.loss import Floats, Integers, sigmoid

CHANCE = 0.5
FEWEST_LATEST = 50
"""With fewer decisive answers about the newest policy's responses than this, nothing follows from them alone."""
WIDEST = 20.0
"""The widest correction of confidence that `temperature` makes, either way."""


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
    return accuracy_of(np.where(delta == 0, 0.5, (delta > 0) == (preferred_a > 0.5)), weight)


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
    confidence, right, index = _stated(probability, preferred_a, bins)
    gap = np.bincount(index, weight * (confidence - right), bins)
    return float(np.abs(gap).sum() / weight.sum())


def calibration_curve(
    probability: Floats, preferred_a: Floats, weight: Floats, bins: int = 10
) -> list[dict[str, float]]:
    """Return, per bin of stated confidence that holds answers, what was stated and what was right.

    `{"confidence", "right", "low", "high", "answers"}`, with Wilson's interval of `right`; bins as in
    `calibration_error`.
    """
    confidence, right, index = _stated(probability, preferred_a, bins)
    found = []
    for one in np.unique(index):
        inside = index == one
        share, answers = accuracy_of(right[inside], weight[inside]), float(weight[inside].sum())
        low, high = wilson(share * answers, answers)
        stated = float(weight[inside] @ confidence[inside] / answers)
        found.append({"confidence": stated, "right": share, "low": low, "high": high, "answers": answers})
    return found


def _stated(probability: Floats, preferred_a: Floats, bins: int) -> tuple[Floats, Floats, Integers]:
    """Return each answer's stated confidence [N], 1, 0 or a half for whether that was right [N], and its bin [N]."""
    confidence = np.maximum(probability, 1 - probability)
    right = np.where(probability == 0.5, 0.5, (probability > 0.5) == (preferred_a > 0.5))
    return confidence, right, np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)


def accuracy_of(right: Floats, weight: Floats) -> float:
    """Return the weighted mean of `right` [N]: 1, 0 or a half each."""
    return float(weight @ right / weight.sum())


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


def temperature(probability: Floats, preferred_a: Floats, weight: Floats) -> float:
    """Return the T under which sigmoid(logit(p) / T) makes the answers most likely (Guo et al. 2017, arXiv:1706.04599).

    Above 1 the probabilities were too sure of themselves, below 1 not sure enough. At least 1 / WIDEST, at most WIDEST.
    """
    lead = np.where(preferred_a > 0.5, 1, -1) * logit(probability)
    low, high = -math.log(WIDEST), math.log(WIDEST)
    # The likelihood is concave in 1 / T, so the sign of its slope says on which side the best one lies.
    for _ in range(60):
        middle = (low + high) / 2
        slope = float(weight @ (lead * sigmoid(-math.exp(middle) * lead)))
        low, high = (middle, high) if slope > 0 else (low, middle)
    return math.exp(-low)


def tempered(probability: Floats, temperature: float) -> Floats:
    """Return sigmoid(logit(p) / T)."""
    return sigmoid(logit(probability) / temperature)


def logit(probability: Floats) -> Floats:
    """Return log(p / (1 - p)), finite for p of 0 and 1."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(p) - np.log1p(-p))


def agreement(decisive: Iterable[tuple[Hashable, bool]]) -> tuple[float, int] | None:
    """Return how often two decisive answers to one pair agree, and how many such twos there are.

    `decisive` lists (pair, a preferred?). None where no pair has two.
    """
    votes: dict[Hashable, list[int]] = defaultdict(lambda: [0, 0])
    for pair, preferred_a in decisive:
        votes[pair][preferred_a] += 1
    same = sum(math.comb(a, 2) + math.comb(b, 2) for a, b in votes.values())
    both = sum(math.comb(a + b, 2) for a, b in votes.values())
    return (same / both, both) if both else None


def agreements(
    pair: Integers, preferred_a: Floats, annotator: Sequence[str | None], again: np.ndarray
) -> dict[str, float]:
    """Return as metrics how far people agree with each other and with themselves, and the ceiling that follows.

    Arrays [N] are about decisive answers. A second answer to the same two responses is a second opinion, whoever gave
    it. `again` says which were asked for because an earlier one had surprised a model: there people disagree more
    often than elsewhere, so these pairs count by their share of all pairs, and alone they say nothing about the rest.
    """
    votes = list(zip(pair.tolist(), (preferred_a > 0.5).tolist(), annotator, strict=True))
    doubted = set(pair[again].tolist())
    metrics: dict[str, float] = {}
    if same := agreement(((one, who), said) for one, said, who in votes if who is not None):
        metrics |= {"self_agreement": same[0], "self_agreement_twos": float(same[1])}
    there = agreement((one, said) for one, said, _ in votes if one in doubted)
    elsewhere = agreement((one, said) for one, said, _ in votes if one not in doubted)
    if there:
        metrics |= {"repeat_agreement": there[0], "repeat_agreement_twos": float(there[1])}
    if elsewhere:
        share = len(doubted) / len(set(pair.tolist())) if there else 0.0
        agreed = share * (there[0] if there else 0.0) + (1 - share) * elsewhere[0]
        twos = elsewhere[1] + (there[1] if there else 0)
        metrics |= {"agreement": agreed, "agreement_twos": float(twos), "ceiling": ceiling(agreed)}
    return metrics


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


def reached(metrics: Mapping[str, float]) -> str | None:
    """Return a sentence if the model cannot tell the newest policy's own answers apart, if there are enough; or None.

    PPO would go on from that policy. Where a rule has an optimum and the policy is there, the older answers still say
    "more of it", and a score that is linear in the states cannot say "no more".
    """
    if metrics.get("latest_answers", 0.0) < FEWEST_LATEST or metrics["latest_low"] > CHANCE:
        return None
    share = f"{metrics['latest_accuracy']:.0%} [{metrics['latest_low']:.0%}, {metrics['latest_high']:.0%}]"
    return (
        f"The reward model does not tell the newest policy's own answers apart: {share} over "
        f"{metrics['latest_answers']:.0f} answers. What people ask for may have been reached; "
        "label more of its answers, or force the run."
    )


def by_strength(right: Sequence[float], strength: Sequence[int | None]) -> dict[str, float]:
    """Return accuracy and count per strength of preference, as flat metrics."""
    groups: dict[int, list[float]] = defaultdict(list)
    for one, level in zip(right, strength, strict=True):
        if level is not None:
            groups[level].append(one)
    metrics = {f"accuracy_strength_{level}": sum(group) / len(group) for level, group in sorted(groups.items())}
    return metrics | {f"n_strength_{level}": float(len(group)) for level, group in sorted(groups.items())}


def by_length_gap(right: Floats, longer: Floats) -> dict[str, float]:
    """Return accuracy and count per third of the difference in length, as flat metrics.

    `right` [N] is 1, 0 or a half, `longer` [N] the length of a minus that of b. Equal differences stay together.
    """
    gap = np.abs(longer)
    third = np.searchsorted(np.quantile(gap, [1 / 3, 2 / 3]), gap)
    metrics: dict[str, float] = {}
    for index, name in enumerate(("small", "middle", "large")):
        group = right[third == index]
        if len(group):
            metrics |= {f"accuracy_gap_{name}": float(group.mean()), f"n_gap_{name}": float(len(group))}
    return metrics


def surprising(said: Floats, pair: Integers, most: int) -> Integers:
    """Return the answers that a model thought less likely than their opposite, the least likely first, one per pair.

    `said` [N] is the probability of what each decisive answer said, `pair` [N] what it is about.
    """
    order = np.argsort(said, kind="stable")
    order = order[said[order] < CHANCE]
    _, first = np.unique(pair[order], return_index=True)
    return np.asarray(order[np.sort(first)][:most], dtype=np.int64)


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last: Integers = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)
