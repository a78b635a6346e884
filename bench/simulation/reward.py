"""How well the instant head predicts unseen prompts: by number of labels, rule, noise, layer and pooling."""

import json
import sys
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.runs.hyper import RewardHyper
from bench.simulation import base, golds, labels
from workers.language.model import load
from workers.prompts import codec
from workers.reward import data
from workers.reward.frozen import FrozenStates
from workers.reward.train import fit_instant

COUNTS = (50, 100, 250, 500, 1000, 2000)
SEEDS = (1, 2, 3)
FLIPS = 0.1
DEPTH = RewardHyper().depth
POOLING = RewardHyper().pooling
POOLINGS = {
    "words": slice(0, 4),
    "all": slice(0, 3),
    "mean": slice(0, 1),
    "sum": slice(1, 2),
    "last": slice(2, 3),
}


def study(home: Path) -> None:
    """Fit every head and append one line per fit to reward.jsonl; what is there already is not fitted again."""
    pairs, lm = base.read_pairs(home), load(base.MODEL)
    features = cache(partial(base.read_features, home))
    worth = {gold: standardised(gold, pairs) for gold in golds.GOLDS}
    file = home / "reward.jsonl"
    known = {_key(json.loads(line)) for line in file.read_text().splitlines()} if file.exists() else set()
    with file.open("a") as lines:
        for plan in _plans():
            if _key(plan) in known:
                continue
            found = plan | _fit(lm, pairs, worth[plan["gold"]], features(plan["depth"]), plan)
            lines.write(json.dumps(found) + "\n")
            lines.flush()
            print(f"{_key(plan)}: {found['over_ceiling']:.3f} in {found['seconds']:.2f} s", file=sys.stderr)


def _plans() -> list[dict[str, Any]]:
    """Return every fit of the study: the curves, then noise, then layer and pooling at three numbers of labels."""
    normal = {"depth": DEPTH, "pooling": POOLING, "flips": FLIPS, "hesitation": 0.0}
    hesitant = {"flips": 0.0, "hesitation": 1.0}
    cases = [normal | noise | {"labels": count} for count in COUNTS[:-1] for noise in ({}, hesitant)]
    # What the words add, and hesitation and slips together.
    cases += [normal | noise | {"pooling": "all", "labels": 500} for noise in ({}, hesitant)]
    cases += [normal | {"labels": 500, "hesitation": 1.0}]
    cases += [normal | {"labels": 500, "flips": flips} for flips in (0.0, 0.25)]
    most = [normal | noise | {"labels": COUNTS[-1]} for noise in (hesitant, {})]
    once = [normal | {"labels": 2000, "flips": flips} for flips in (0.0, 0.25)]
    once += [normal | noise | {"pooling": "all", "labels": 2000} for noise in ({}, hesitant)]
    once += [normal | {"labels": 2000, "hesitation": 1.0}]
    settings = [
        normal | {"labels": count, "depth": depth, "pooling": pooling}
        for count in (50, 500, 2000)
        for depth in base.DEPTHS
        for pooling in POOLINGS
        if (depth, pooling) != (DEPTH, POOLING)
    ]
    everywhere = [case | {"gold": gold, "seed": seed} for case in cases for gold in golds.GOLDS for seed in SEEDS]
    everywhere += [case | {"gold": gold, "seed": seed} for seed in SEEDS for case in most for gold in golds.GOLDS]
    # Layers and poolings are compared on the same labels, so one seed tells them apart; 2,000 labels take long.
    return everywhere + [case | {"gold": gold, "seed": SEEDS[0]} for case in once + settings for gold in golds.GOLDS]


def _key(plan: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(plan[name] for name in ("gold", "labels", "flips", "hesitation", "depth", "pooling", "seed"))


def _fit(
    lm: Any, pairs: list[dict[str, Any]], worth: np.ndarray, features: np.ndarray, plan: dict[str, Any]
) -> dict[str, Any]:
    """Fit one head as the product does and return what it is worth on the test's prompts."""
    taught, noise = labels.draw(plan["seed"], pairs, plan["labels"], plan["flips"], plan["hesitation"])
    test = [index for index, pair in enumerate(pairs) if pair["part"] == "test"]
    table = labels.rows(pairs, worth, noise, [*taught, *test], {"test"})
    preferences = data.from_table(table, codec(lm), lm.context)
    # The rows come in the table's order, both answers of a pair in a row, because no answer is in two pairs.
    chosen = np.array([int(row["comparison"]) for row in table])
    pooled = torch.tensor(features[chosen].reshape(2 * len(chosen), 4, -1)[:, POOLINGS[plan["pooling"]]]).flatten(1)
    assert len(pooled) == len(preferences.rows)
    hyper = RewardHyper(depth=plan["depth"], pooling=plan["pooling"])
    started = time.monotonic()
    instant = fit_instant(lm, preferences, FrozenStates(pooled, None, {}), hyper)
    found = {"seconds": time.monotonic() - started, "ridge": instant.ridge}
    # A default is chosen by this, never by the test's prompts.
    found["loss_of_folds"] = instant.loss
    tested = preferences.holdout
    lead = (worth[:, 0] - worth[:, 1])[chosen][tested]
    truth = labels.truth(lead, plan["flips"], plan["hesitation"])
    found["ties"] = float((preferences.answers.sign == 0).mean())
    return found | verdict(
        instant.delta[tested], instant.probability[tested], preferences.lengths()[tested], lead, truth
    )


def verdict(
    delta: np.ndarray, probability: np.ndarray, longer: np.ndarray, lead: np.ndarray, truth: labels.Truth
) -> dict[str, Any]:
    """Return what N predictions are worth against the exact probabilities of the answers.

    `delta` says which response scores higher and `probability` how likely it is preferred, `longer` which is longer,
    `lead` by how much the rule prefers the first, in its standard deviations.
    """
    weight = truth.decisive / truth.decisive.sum()
    ceiling = float(weight @ np.maximum(truth.first, 1 - truth.first))

    def right(said: np.ndarray) -> float:
        return float(weight @ np.where(said > 0, truth.first, np.where(said < 0, 1 - truth.first, 0.5)))

    def clean(low: float, high: float) -> float | None:
        chosen = (np.abs(lead) >= low) & (np.abs(lead) < high)
        return float((delta[chosen] * lead[chosen] > 0).mean()) if chosen.any() else None

    wrong = truth.first * np.log(probability) + (1 - truth.first) * np.log1p(-probability)
    return {
        "accuracy": right(delta),
        "ceiling": ceiling,
        "over_ceiling": right(delta) / ceiling,
        "length_over_ceiling": max(right(longer), right(-longer)) / ceiling,
        "nll": -float(weight @ wrong),
        "test_pairs": float(truth.decisive.sum()),
        "clean_small": clean(labels.TIE, labels.BETTER),
        "clean_middle": clean(labels.BETTER, labels.MUCH_BETTER),
        "clean_large": clean(labels.MUCH_BETTER, np.inf),
    }


def standardised(gold: str, pairs: list[dict[str, Any]]) -> np.ndarray:
    """Return what the rule says of both answers of every pair, in its standard deviations, [P, 2]."""
    found = np.array([golds.scores(gold, (pair["response_a"], pair["response_b"])) for pair in pairs])
    return np.asarray(found / found.std())
