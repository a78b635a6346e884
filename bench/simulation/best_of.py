"""Best of n: the base model's answers re-ranked by a reward model, for every n up to 64.

The KL to the base model is ln n - (n - 1) / n at most (Beirami et al. 2024, arXiv:2401.01879).
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.simulation import base, golds
from bench.simulation.prompts import all_prompts
from workers.language.decode import generate
from workers.language.model import load
from workers.language.tokens import decode, encode_prompt
from workers.reward.model import load_reward, score_all
from workers.reward.report import wilson_clustered

SAMPLES, PROMPTS, SEED = 64, 40, 33_000
SIZES = (1, 2, 4, 8, 16, 32, 64)


def frontier(home: Path, gold: str, checkpoint: dict[str, str], before: dict[str, Any]) -> list[dict[str, float]]:
    """Return for each n the KL bound and how often the best of n beats the base model's answers `before`.

    40 of the test prompts, 64 answers each; the best of n is averaged over all choices of n among the 64.
    """
    drawn = _sampled(home)
    lm = load(base.MODEL)
    model, started = load_reward(lm, checkpoint["url"], checkpoint["sha256"]), time.monotonic()
    rows = [(one["prompt"], tokens) for one in drawn for tokens in one["tokens"]]
    scores = score_all(model, rows).numpy().reshape(len(drawn), SAMPLES)
    print(f"scored {len(rows)} answers in {time.monotonic() - started:.0f} s", file=sys.stderr)
    rates, worth = np.zeros((len(drawn), SAMPLES)), np.zeros((len(drawn), SAMPLES))
    for number, one in enumerate(drawn):
        order = np.argsort(-scores[number], kind="stable")
        worth[number] = golds.scores(gold, one["texts"])[order]
        lead = worth[number][:, None] - golds.scores(gold, before["texts"][one["index"]])[None]
        rates[number] = ((lead > 0) + 0.5 * (lead == 0)).mean(1)
    found = []
    for n in SIZES:
        chance = chances(SAMPLES, n)
        low, high = wilson_clustered(rates @ chance, 1)
        win, value = float((rates @ chance).mean()), float((worth @ chance).mean())
        found.append({"n": n, "kl": kl(n), "win": win, "win_low": low, "win_high": high, "gold": value})
    return found


def chances(total: int, n: int) -> np.ndarray:
    """Return how likely each rank [total] is the best of `n` answers drawn from `total` without replacement."""
    return np.array([math.comb(total - 1 - rank, n - 1) for rank in range(total)]) / math.comb(total, n)


def kl(n: int) -> float:
    """Return the bound on the KL of best-of-n to the base model, in nats."""
    return math.log(n) - (n - 1) / n


def _sampled(home: Path) -> list[dict[str, Any]]:
    file = home / "best-of.json"
    if file.exists():
        return json.loads(file.read_text())  # type: ignore[no-any-return]
    lm, started = load(base.MODEL), time.monotonic()
    asked = [one.text for one in all_prompts() if one.part == "test"]
    chosen = sorted(np.random.default_rng(SEED).choice(len(asked), PROMPTS, replace=False).tolist())
    ids = [encode_prompt(lm, [{"role": "user", "content": asked[index]}]) for index in chosen]
    drawn = generate(lm, ids, SAMPLES, base.SEEN, SEED)
    found = [
        {
            "index": index,
            "prompt": several[0].prompt_ids,
            "tokens": [one.token_ids for one in several],
            "texts": [decode(lm, one.token_ids) for one in several],
        }
        for index, several in zip(chosen, drawn, strict=True)
    ]
    print(f"sampled {PROMPTS * SAMPLES} answers in {time.monotonic() - started:.0f} s", file=sys.stderr)
    file.write_text(json.dumps(found))
    return found
