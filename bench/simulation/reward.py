"""How well the instant head predicts unseen prompts: by number of labels, rule, noise, layer and pooling."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from app.runs.hyper import RewardHyper
from bench.simulation import base, golds, labels
from workers.language.model import load
from workers.prompts import codec
from workers.reward import data, report
from workers.reward.frozen import FrozenStates
from workers.reward.train import fit_instant

COUNTS = (50, 100, 250, 500, 1000, 2000)
SEEDS = (1, 2, 3)
FLIPS = 0.1
POOLINGS = {"all": slice(0, 3), "mean": slice(0, 1), "sum": slice(1, 2), "last": slice(2, 3)}


def study(home: Path) -> None:
    """Fit every head and append one line per fit to reward.jsonl; what is there already is not fitted again."""
    pairs, lm = base.read_pairs(home), load(base.MODEL)
    features = {depth: base.read_features(home, depth) for depth in base.DEPTHS}
    worth = {gold: standardised(gold, pairs) for gold in golds.GOLDS}
    file = home / "reward.jsonl"
    known = {_key(json.loads(line)) for line in file.read_text().splitlines()} if file.exists() else set()
    with file.open("a") as lines:
        for plan in _plans():
            if _key(plan) in known:
                continue
            found = plan | _fit(lm, pairs, worth[plan["gold"]], features[plan["depth"]], plan)
            lines.write(json.dumps(found) + "\n")
            lines.flush()
            print(f"{_key(plan)}: {found['over_ceiling']:.3f} in {found['seconds']:.2f} s", file=sys.stderr)


def _plans() -> list[dict[str, Any]]:
    """Return every fit of the study: the curves, then noise, then layer and pooling at three numbers of labels."""
    normal = {"depth": 0.75, "pooling": "all", "flips": FLIPS}
    cases = [normal | {"labels": count} for count in COUNTS]
    cases += [normal | {"labels": count, "flips": flips} for count in (500, 2000) for flips in (0.0, 0.25)]
    settings = [
        normal | {"labels": count, "depth": depth, "pooling": pooling}
        for count in (50, 500, 2000)
        for depth in base.DEPTHS
        for pooling in POOLINGS
        if (depth, pooling) != (0.75, "all")
    ]
    everywhere = [case | {"gold": gold, "seed": seed} for case in cases for gold in golds.GOLDS for seed in SEEDS]
    # Layers and poolings are compared on the same labels, so one seed tells them apart.
    return everywhere + [case | {"gold": gold, "seed": SEEDS[0]} for case in settings for gold in golds.GOLDS]


def _key(plan: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(plan[name] for name in ("gold", "labels", "flips", "depth", "pooling", "seed"))


def _fit(
    lm: Any, pairs: list[dict[str, Any]], worth: np.ndarray, features: np.ndarray, plan: dict[str, Any]
) -> dict[str, Any]:
    """Fit one head as the product does and return what it is worth on the test's prompts."""
    taught, slips = labels.draw(plan["seed"], pairs, plan["labels"], plan["flips"])
    test = [index for index, pair in enumerate(pairs) if pair["part"] == "test"]
    table = labels.rows(pairs, worth, slips, [*taught, *test], "test")
    preferences = data.from_table(table, codec(lm), lm.context)
    # The rows come in the table's order, both answers of a pair in a row, because no answer is in two pairs.
    chosen = np.array([int(row["comparison"]) for row in table])
    pooled = torch.tensor(features[chosen].reshape(2 * len(chosen), 3, -1)[:, POOLINGS[plan["pooling"]]]).flatten(1)
    assert len(pooled) == len(preferences.rows)
    hyper = RewardHyper(depth=plan["depth"], pooling=plan["pooling"])
    started = time.monotonic()
    instant = fit_instant(lm, preferences, FrozenStates(pooled, None, {}), hyper)
    seconds = time.monotonic() - started
    answers = preferences.answers
    tested = np.flatnonzero((answers.sign != 0) & preferences.holdout[answers.pair])
    pair, first = answers.pair[tested], (answers.sign[tested] > 0).astype(np.float64)
    ones, flips = np.ones(len(tested)), plan["flips"]
    right = report.accuracy(instant.delta[pair], first, ones)
    low, high = report.wilson(right * len(tested), len(tested))
    probability = instant.probability[pair]
    return {
        "seconds": seconds,
        "ridge": instant.ridge,
        "accuracy": right,
        "accuracy_low": low,
        "accuracy_high": high,
        "test_answers": len(tested),
        # Against labels with the same slips, of which nobody can expect to meet more than 1 - flips.
        "over_ceiling": (right * (1 - flips) + (1 - right) * flips) / (1 - flips),
        "nll": (1 - flips) * report.log_loss(probability, first, ones)
        + flips * report.log_loss(1 - probability, first, ones),
        "length_baseline": report.length_baseline(preferences.lengths()[pair], first, ones),
        "ties": float((answers.sign == 0).mean()),
    }


def standardised(gold: str, pairs: list[dict[str, Any]]) -> np.ndarray:
    """Return what the rule says of both answers of every pair, in its standard deviations, [P, 2]."""
    found = np.array([golds.scores(gold, (pair["response_a"], pair["response_b"])) for pair in pairs])
    return np.asarray(found / found.std())
