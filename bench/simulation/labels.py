"""Answers as a simulated annotator gives them: by the rule, with slips, a tie where the rule sees next to nothing."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np

TIE = 0.1
"""Differences below this, in standard deviations of the rule over the base model's answers, are ties."""
BETTER, MUCH_BETTER = 0.5, 1.2


def rows(
    pairs: list[dict[str, Any]], worth: np.ndarray, slips: np.ndarray, chosen: Iterable[int], holdout: str
) -> list[dict[str, Any]]:
    """Return a snapshot's rows for the `chosen` pairs (indices); those of the part `holdout` are held out.

    `worth` [P, 2] is what the rule says of both answers, in its own standard deviations. `slips` (bool [P]) says where
    the annotator names the wrong one; about held-out prompts he makes none.
    """
    return [
        _row(index, pairs[index], worth[index], bool(slips[index]), pairs[index]["part"] == holdout)
        for index in map(int, chosen)
    ]


def _row(index: int, pair: dict[str, Any], worth: np.ndarray, slip: bool, holdout: bool) -> dict[str, Any]:
    lead = float(worth[0] - worth[1])
    size = abs(lead)
    tie = size < TIE
    better = "a" if (lead > 0) != (slip and not holdout) else "b"
    return {
        **{name: pair[name] for name in ("prompt_token_ids", "tokens_a", "tokens_b", "response_a", "response_b")},
        "prompt": [{"role": "user", "content": pair["prompt"]}],
        "prompt_hash": pair["prompt"],
        "holdout": holdout,
        "response_a_id": f"{index}a",
        "response_b_id": f"{index}b",
        "comparison": str(index),
        "answer": str(index),
        "verdict": "tie" if tie else "preferred",
        "preferred": None if tie else better,
        "strength": None if tie else 1 + (size >= BETTER) + (size >= MUCH_BETTER),
        "annotator": "simulated",
        "simulated": True,
        "purpose": "holdout" if holdout else "train",
        "created": datetime(2026, 1, 1, tzinfo=UTC),
    }


def draw(seed: int, pairs: list[dict[str, Any]], count: int, flips: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which training pairs are labelled ([count], never more than there are) and where slips happen (bool [P]).

    More labels with the same seed are the fewer ones and others.
    """
    generator = np.random.default_rng(seed)
    training = np.array([index for index, pair in enumerate(pairs) if pair["part"] == "train"])
    order = generator.permutation(training)
    return order[:count], generator.random(len(pairs)) < flips
