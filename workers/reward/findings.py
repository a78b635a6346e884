"""What a reward run found out: figures on answers that no head had seen, and the answers that surprised it."""

from typing import Any

import numpy as np

from workers.reward import report
from workers.reward.data import Preferences
from workers.reward.loss import Floats

MOST_SURPRISING = 100


def figures(preferences: Preferences, delta: Floats, probability: Floats, scores: Floats) -> dict[str, float]:
    """Return the metrics of a reward model.

    `delta` [P] is the difference of scores and `probability` [P] that the first response is preferred (given that one
    is), both by a head that never saw the pair's prompt; `scores` [R] are those of the finished model. Answers to pairs
    that were asked again because an answer had surprised a model teach, but are no fair sample to be measured on.
    """
    answers = preferences.answers
    fair = np.flatnonzero((answers.sign != 0) & ~answers.again)
    pair = answers.pair[fair]
    preferred, ones = (answers.sign[fair] > 0).astype(np.float64), np.ones(len(fair))
    longer = preferences.lengths()[pair]
    share = report.accuracy(delta[pair], preferred, ones)
    low, high = report.wilson(share * len(pair), len(pair))
    cooled = report.temperature(probability[pair], preferred, ones)
    metrics = {
        "accuracy": share,
        "accuracy_low": low,
        "accuracy_high": high,
        "n_heldout": float(len(pair)),
        "nll": report.log_loss(probability[pair], preferred, ones),
        "brier": report.brier(probability[pair], preferred, ones),
        "ece": report.calibration_error(probability[pair], preferred, ones),
        "temperature": cooled,
        "ece_tempered": report.calibration_error(report.tempered(probability[pair], cooled), preferred, ones),
        "length_baseline": report.length_baseline(longer, preferred, ones),
        "length_correlation": report.spearman(scores, np.array([float(len(row[1])) for row in preferences.rows])),
        "tie_rate": float((answers.sign[~answers.again] == 0).mean()),
        "pairs": float(len(preferences.first)),
        "responses": float(len(preferences.rows)),
    }
    right = np.where(delta[pair] == 0, 0.5, (delta[pair] > 0) == (preferred > 0.5))
    metrics |= report.by_strength(right.tolist(), [answers.strength[index] for index in fair])
    metrics |= report.by_length_gap(right, longer)
    metrics |= _agreements(preferences)
    if (latest := answers.latest[fair]).any():
        low, high = report.wilson(right[latest].sum(), float(latest.sum()))
        metrics |= {"latest_accuracy": float(right[latest].mean()), "latest_low": low, "latest_high": high}
        metrics |= {"latest_answers": float(latest.sum())}
    final = (scores[preferences.first] - scores[preferences.second])[pair]
    unseen = preferences.holdout[pair]
    if unseen.any():
        share = report.accuracy(final[unseen], preferred[unseen], ones[unseen])
        low, high = report.wilson(share * unseen.sum(), float(unseen.sum()))
        metrics |= {"test_accuracy": share, "test_low": low, "test_high": high, "test_answers": float(unseen.sum())}
    return metrics


def calibration(preferences: Preferences, probability: Floats) -> list[dict[str, float]]:
    """Return the calibration curve on the answers that `figures` measures on, as JSON objects."""
    answers = preferences.answers
    fair = np.flatnonzero((answers.sign != 0) & ~answers.again)
    preferred = (answers.sign[fair] > 0).astype(np.float64)
    return report.calibration_curve(probability[answers.pair[fair]], preferred, np.ones(len(fair)))


def surprises(preferences: Preferences, probability: Floats) -> list[dict[str, Any]]:
    """Return the people's answers that a head which had not seen their prompt thought least likely, as JSON objects.

    `probability` [P] is that of the first response, given that one is preferred. Each object names the comparison and
    the probability of what was said there; two responses come once, and never if they were asked about again before.
    """
    answers = preferences.answers
    known = np.isin(answers.pair, answers.pair[answers.again])
    human = np.flatnonzero((answers.sign != 0) & ~answers.simulated & ~known)
    first = probability[answers.pair[human]]
    said = np.where(answers.sign[human] > 0, first, 1 - first)
    found = report.surprising(said, answers.pair[human], MOST_SURPRISING)
    return [{"comparison": answers.comparison[human[i]], "probability": float(said[i])} for i in found]


def _agreements(preferences: Preferences) -> dict[str, float]:
    answers = preferences.answers
    decisive = np.flatnonzero(answers.sign)
    people = [answers.annotator[index] for index in decisive]
    preferred = (answers.sign[decisive] > 0).astype(np.float64)
    return report.agreements(answers.pair[decisive], preferred, people, answers.again[decisive])
