"""Are chosen pairs worth more than random ones? The live head's own ensemble chooses from a pool of sampled pairs.

Chosen by double Thompson sampling for pairs that exist already: two heads are drawn from the ensemble, and the pair on
which they disagree most goes to the annotator (after Wu and Liu 2016, arXiv:1604.07101, with responses replaced by
pairs). The first pairs are random in both arms, and the test's pairs always are.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.simulation import base, golds, labels
from bench.simulation.reward import DEPTH, SEEDS, standardised
from workers.live_head.fit import Answers, LiveFit, fit, make_basis

START, BATCH, END, FLIPS = 50, 25, 500, 0.1
Choose = Callable[[np.random.Generator, np.ndarray, LiveFit], np.ndarray]


def study(home: Path) -> None:
    """Append one line per rule, seed and arm to choosing.jsonl: accuracy on the test's prompts by number of labels."""
    pairs, features = base.read_pairs(home), base.read_features(home, DEPTH)
    with (home / "choosing.jsonl").open("w") as lines:
        for gold in golds.GOLDS:
            worth = standardised(gold, pairs)
            for seed in SEEDS:
                for arm, choose in {"random": at_random, "chosen": by_disagreement}.items():
                    curve = _learn(pairs, features, worth, seed, choose)
                    lines.write(json.dumps({"gold": gold, "seed": seed, "arm": arm, "curve": curve}) + "\n")
                    lines.flush()
                    print(f"{gold} {seed} {arm}: {curve[-1]}", file=sys.stderr)


def at_random(generator: np.random.Generator, differences: np.ndarray, found: LiveFit) -> np.ndarray:
    """Return the pool's pairs [n] in a random order."""
    return generator.permutation(len(differences))


def by_disagreement(generator: np.random.Generator, differences: np.ndarray, found: LiveFit) -> np.ndarray:
    """Return the pool's pairs [n] as two heads at a time would choose them; `differences` [n, R] in coordinates."""
    probability = 1 / (1 + np.exp(-differences @ found.ensemble))
    left, order = np.ones(len(differences), bool), []
    for _ in range(min(BATCH, len(differences))):
        one, other = generator.choice(probability.shape[1], 2, replace=False)
        gap = np.where(left, np.abs(probability[:, one] - probability[:, other]), -1.0)
        order.append(int(gap.argmax()))
        left[order[-1]] = False
    return np.array(order)


def _learn(
    pairs: list[dict[str, Any]], features: np.ndarray, worth: np.ndarray, seed: int, choose: Choose
) -> list[tuple[int, float]]:
    """Label from START to END pairs and return (labels, accuracy on the test's decisive pairs) after each batch."""
    generator = np.random.default_rng(seed)
    pool, noise = labels.draw(seed, pairs, len(pairs), FLIPS)
    test = np.array([index for index, pair in enumerate(pairs) if pair["part"] == "test"])
    lead = worth[:, 0] - worth[:, 1]
    decisive = test[np.abs(lead[test]) >= labels.TIE]
    flat = features.reshape(2 * len(pairs), -1)
    prompts = {text: number for number, text in enumerate(dict.fromkeys(pair["prompt"] for pair in pairs))}
    prompt = np.array([prompts[pair["prompt"]] for pair in pairs])
    length = np.array([len(pair["response_a"]) - len(pair["response_b"]) for pair in pairs], float)
    labelled, waiting, curve = list(pool[:START]), pool[START:], []
    while True:
        chosen = np.array(labelled)
        # 1. What the annotator says about the labelled pairs.
        size, sign = np.abs(lead[chosen]), np.sign(lead[chosen]) * np.where(noise.slips[chosen], -1, 1)
        tie = size < labels.TIE
        strength = np.where(tie, 0, 1 + (size >= labels.BETTER) + (size >= labels.MUCH_BETTER))
        answers = Answers(
            2 * chosen,
            2 * chosen + 1,
            np.where(tie, 0, sign).astype(np.int64),
            strength.astype(np.int64),
            prompt[chosen],
            np.zeros(len(chosen), np.bool_),
            length[chosen],
            np.zeros(len(chosen), np.bool_),
        )
        # 2. The head as the product fits it, and what it is worth.
        basis = make_basis(flat, answers)
        coordinates = basis.coordinates(flat)
        found = fit(basis, coordinates, answers)
        differences = coordinates[::2] - coordinates[1::2]
        right = (differences[decisive] @ found.theta > 0) == (lead[decisive] > 0)
        curve.append((len(labelled), float(right.mean())))
        if len(labelled) >= END:
            return curve
        # 3. The next pairs.
        order = choose(generator, differences[waiting], found)[:BATCH]
        labelled += waiting[order].tolist()
        waiting = np.delete(waiting, order)
