"""What the base model makes of every response, computed in one pass and kept for the head and for the adapters."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from workers.language.layers import LAST, states_at
from workers.language.logprobs import Row
from workers.language.model import LanguageModel
from workers.reward.model import BATCH, batches, pool

MOST_KEPT = 1.5e9
"""Bytes of states that are kept at most; with more responses than that they are computed whenever they are needed."""


class FrozenStates(NamedTuple):
    """The base model's view of R responses."""

    pooled: Tensor
    """Pooled states at the head's layer, [R, F] in float32."""
    last: Tensor | None
    """The mean of each response's last states, [R, D], where adapters are to be trained."""
    kept: dict[int, list[Tensor]]
    """By layer the states [S, D] of every row, in the model's dtype; empty if none are to be kept."""

    def base(self, rows: Sequence[int]) -> Mapping[int, Tensor] | None:
        """Return the padded states [B, S, D] of some rows by layer, or None if none were kept."""
        if not self.kept:
            return None
        return {
            layer: nn.utils.rnn.pad_sequence([states[row] for row in rows], batch_first=True)
            for layer, states in self.kept.items()
        }


def read_states(
    lm: LanguageModel,
    rows: Sequence[Row],
    layer: int,
    kinds: Sequence[str],
    lower: int | None,
    done: Callable[[int, int], None],
) -> FrozenStates:
    """Run the base model over every row once.

    `layer` is where the head pools, `kinds` how. `lower` is the first block adapters will touch, None without adapters.
    `done(rows so far, all rows)` is called after each batch.
    """
    tokens = sum(len(prompt) + len(response) for prompt, response in rows)
    layers = [] if lower is None or layer == LAST or lower < layer else sorted({layer, lower})
    if tokens * lm.model.config.hidden_size * lm.dtype.itemsize * len(layers) > MOST_KEPT:
        layers = []
    kept: dict[int, list[Tensor]] = {one: [torch.empty(0)] * len(rows) for one in layers}
    wanted = sorted({layer, *layers}) + ([] if lower is None else [LAST])
    pooled: list[Tensor] = [torch.empty(0)] * len(rows)
    last: list[Tensor] = [torch.empty(0)] * len(rows)
    so_far = 0
    with torch.no_grad():
        for batch in batches(rows, BATCH):
            some = [rows[row] for row in batch]
            states = states_at(lm, some, wanted)
            for place, (row, features) in enumerate(zip(batch, pool(states[layer], some, kinds), strict=True)):
                pooled[row] = features
                for one in layers:
                    kept[one][row] = states[one][place, : len(rows[row][0]) + len(rows[row][1])].clone()
            if lower is not None:
                for row, mean in zip(batch, pool(states[LAST], some, ("mean",)), strict=True):
                    last[row] = mean
            so_far += len(batch)
            done(so_far, len(rows))
    return FrozenStates(torch.stack(pooled), torch.stack(last) if lower is not None else None, kept)
