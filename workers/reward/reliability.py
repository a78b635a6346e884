"""How far each annotator can be relied on: their agreement with what the others said about the same pairs."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from workers.reward.loss import Integers

LEAST = 0.2
"""What an answer counts at least, so that nobody is silenced by bad luck."""


def reliability(pair: Integers, sign: Integers, annotator: Sequence[str | None]) -> dict[str, float]:
    """Return each annotator's weight, clip(2 agreement - 1, 0.2, 1): 1 for who always agrees, 0.2 for who guesses.

    `pair` [N] says what an answer is about, `sign` [N] is 1 or -1 for the preferred response and 0 for a tie,
    `annotator` [N] who gave it. Agreement is the share of one's preferences that match the leave-one-out consensus,
    the majority of what all others preferred in that pair. Whoever shares no pair with a consensus is left out.
    """
    everybody = np.bincount(pair, sign)
    own: dict[tuple[int, str], int] = defaultdict(int)
    for one, said, who in zip(pair.tolist(), sign.tolist(), annotator, strict=True):
        if who is not None:
            own[one, who] += said
    agreed: dict[str, list[bool]] = defaultdict(list)
    for one, said, who in zip(pair.tolist(), sign.tolist(), annotator, strict=True):
        if who is None or said == 0:
            continue
        others = everybody[one] - own[one, who]
        if others:
            agreed[who].append((others > 0) == (said > 0))
    return {who: min(1.0, max(LEAST, 2 * sum(found) / len(found) - 1)) for who, found in agreed.items()}
