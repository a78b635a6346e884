"""Answers as a simulated annotator gives them: by the rule, with doubts and slips, a tie where little is felt."""

from collections.abc import Container, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

TIE = 0.1
"""Differences below this, in standard deviations of the rule over the base model's answers, are ties."""
BETTER, MUCH_BETTER = 0.5, 1.2


class Noise(NamedTuple):
    """What comes between the rule and the answers about P pairs."""

    slips: np.ndarray
    """Where the annotator names the wrong one, bool [P]."""
    doubt: np.ndarray
    """What is felt besides the rule's difference, in its standard deviations, [P]."""


class Truth(NamedTuple):
    """How the annotator would answer about some pairs, by the rule and the noise's distribution; N pairs."""

    first: np.ndarray
    """Probability that the first response is preferred, given that one is, [N]."""
    decisive: np.ndarray
    """Probability that one is preferred, [N]."""


def draw(
    seed: int, pairs: list[dict[str, Any]], count: int, flips: float, hesitation: float = 0.0
) -> tuple[np.ndarray, Noise]:
    """Return which training pairs are labelled ([count], never more than there are) and the noise about all pairs.

    `flips` is the share of slips. `hesitation` is the scale of logistic doubts, in standard deviations of the rule:
    with 1, a lead of one standard deviation is seen right in 73 % of the cases (Bradley-Terry). More labels with the
    same seed are the fewer ones and others.
    """
    generator = np.random.default_rng(seed)
    training = np.array([index for index, pair in enumerate(pairs) if pair["part"] == "train"])
    order = generator.permutation(training)
    slips = generator.random(len(pairs)) < flips
    return order[:count], Noise(slips, hesitation * generator.logistic(size=len(pairs)))


def truth(lead: np.ndarray, flips: float, hesitation: float) -> Truth:
    """Return the exact probabilities of the answers for the rule's differences `lead` [N]."""
    if hesitation:
        first, second = (1 / (1 + np.exp((TIE - sign * lead) / hesitation)) for sign in (1, -1))
    else:
        first, second = (lead >= TIE).astype(float), (lead <= -TIE).astype(float)
    decisive = first + second
    share = np.divide(first, decisive, out=np.full(len(lead), 0.5), where=decisive > 0)
    return Truth(share * (1 - flips) + (1 - share) * flips, decisive)


def rows(
    pairs: list[dict[str, Any]], worth: np.ndarray, noise: Noise, chosen: Iterable[int], heldout: Container[str]
) -> list[dict[str, Any]]:
    """Return a snapshot's rows for the `chosen` pairs (indices); those of the parts in `heldout` are held out.

    `worth` [P, 2] is what the rule says of both answers, in its own standard deviations. About held-out prompts the
    annotator has neither doubts nor slips: what is measured on them does not depend on luck.
    """
    clear, lead = np.array([pair["part"] in heldout for pair in pairs]), worth[:, 0] - worth[:, 1]
    felt = np.where(clear, lead, (lead + noise.doubt) * np.where(noise.slips, -1, 1))
    return [_row(index, pairs[index], float(felt[index]), bool(clear[index])) for index in map(int, chosen)]


def _row(index: int, pair: dict[str, Any], felt: float, holdout: bool) -> dict[str, Any]:
    size = abs(felt)
    tie = size < TIE
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
        "preferred": None if tie else "a" if felt > 0 else "b",
        "strength": None if tie else 1 + (size >= BETTER) + (size >= MUCH_BETTER),
        "annotator": "simulated",
        "simulated": True,
        "purpose": "holdout" if holdout else "train",
        "created": datetime(2026, 1, 1, tzinfo=UTC),
    }
