"""What the base model makes of every response, computed in one pass and kept for the head and for the adapters."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from workers.language.layers import LAST, states_at
from workers.language.logprobs import Row
from workers.language.model import LanguageModel
from workers.reward.model import BATCH, batches, pool, pool_all
from workers.world import ALONE, World

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
    world: World = ALONE,
) -> FrozenStates:
    """Run the base model over every row once; the processes read one batch each at a time and tell each other.

    `layer` is where the head pools, `kinds` how. `lower` is the first block adapters will touch, None without adapters.
    `done(rows so far, all rows)` is called after each batch.
    """
    tokens = sum(len(prompt) + len(response) for prompt, response in rows)
    layers = [] if lower is None or layer == LAST or lower < layer else sorted({layer, lower})
    if tokens * lm.model.config.hidden_size * lm.dtype.itemsize * len(layers) > MOST_KEPT:
        layers = []
    kept = {one: room_for_states(lm, rows) for one in layers}
    wanted = sorted({layer, *layers}) + ([] if lower is None else [LAST])
    width = lm.model.config.hidden_size
    pooled = torch.zeros(len(rows), len(kinds) * width, device=lm.device)
    last = torch.zeros(len(rows), width, device=lm.device)
    so_far = 0
    with torch.no_grad():
        for together in world.turns(batches(rows, BATCH)):
            for batch in world.deal(together):
                some = [rows[row] for row in batch]
                states = states_at(lm, some, wanted)
                pooled[batch] = pool_all(lm, states[layer], some, kinds)
                if lower is not None:
                    last[batch] = pool(states[LAST], some, ("mean",))
                for one, of_rows in kept.items():
                    for place, row in enumerate(batch):
                        of_rows[row].copy_(states[one][place, : len(of_rows[row])])
            for of_rows in kept.values():
                world.add([of_rows[row] for batch in together for row in batch])
            so_far += sum(map(len, together))
            done(so_far, len(rows))
    world.add([pooled, last])
    return FrozenStates(pooled, last if lower is not None else None, kept)


def room_for_states(lm: LanguageModel, rows: Sequence[Row]) -> list[Tensor]:
    """Return zeros [S, D] for each row, in the model's dtype."""
    width = lm.model.config.hidden_size
    return [torch.zeros(len(one) + len(other), width, dtype=lm.dtype, device=lm.device) for one, other in rows]
