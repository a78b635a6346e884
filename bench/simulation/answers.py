"""Answers to the test's prompts, sampled as people see them, and what a rule says of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.simulation import base, golds
from bench.simulation.prompts import all_prompts
from workers import artifacts
from workers.language.adapters import attach
from workers.language.decode import generate
from workers.language.model import load
from workers.language.tokens import decode, encode_prompt
from workers.ppo.math import distinct_share
from workers.reward.report import wilson_clustered

ANSWERS = 8
"""To each test prompt, from each policy."""
BASE_SEED, TEST_SEED = 31_000, 32_000


def of_base(home: Path) -> dict[str, Any]:
    """Return the base model's answers to every test prompt; from a file if they were sampled before."""
    return _sample(home / "test-base.json", None, BASE_SEED)


def of_policy(here: Path, checkpoint: dict[str, str]) -> dict[str, Any]:
    """Return a policy's answers to every test prompt; from a file if they were sampled before."""
    return _sample(here / f"test-{checkpoint['sha256'][:12]}.json", checkpoint, TEST_SEED)


def _sample(file: Path, checkpoint: dict[str, str] | None, seed: int) -> dict[str, Any]:
    if file.exists():
        return json.loads(file.read_text())  # type: ignore[no-any-return]
    lm = load(base.MODEL)
    if checkpoint is not None:
        attach(lm, "policy", artifacts.read(checkpoint["url"], checkpoint["sha256"]))
    asked = [one.text for one in all_prompts() if one.part == "test"]
    ids = [encode_prompt(lm, [{"role": "user", "content": text}]) for text in asked]
    drawn = generate(lm, ids, ANSWERS, base.SEEN, seed, None if checkpoint is None else "policy")
    found = {
        "texts": [[decode(lm, one.token_ids) for one in several] for several in drawn],
        "ended": float(np.mean([one.finish == "stop" for several in drawn for one in several])),
        "distinct": distinct_share([several[0].token_ids for several in drawn]),
    }
    file.write_text(json.dumps(found))
    return found


def win(gold: str, after: list[list[str]], before: list[list[str]]) -> dict[str, float]:
    """Return how often answers `after` beat those `before` by the rule, ties half; a prompt is the interval's unit."""
    rates = []
    for ours, theirs in zip(after, before, strict=True):
        lead = golds.scores(gold, ours)[:, None] - golds.scores(gold, theirs)[None]
        rates.append(float(((lead > 0) + 0.5 * (lead == 0)).mean()))
    low, high = wilson_clustered(np.array(rates), len(after[0]))
    return {"win": float(np.mean(rates)), "win_low": low, "win_high": high}


def worth(gold: str, answers: list[list[str]]) -> float:
    """Return what the rule says of the answers on average."""
    return float(golds.scores(gold, [text for several in answers for text in several]).mean())


def shape(answers: dict[str, Any]) -> dict[str, Any]:
    """Return length in words, share of answers that ended, share of different trigrams, and a few to read."""
    texts = [text for several in answers["texts"] for text in several]
    return {
        "words": float(np.mean([len(text.split()) for text in texts])),
        "ended": answers["ended"],
        "distinct": answers["distinct"],
        "examples": [several[0] for several in answers["texts"][:6]],
    }
