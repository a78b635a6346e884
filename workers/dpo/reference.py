"""What the base model says of every response: the reference, and the states from which the policy's adapters start."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from workers.dpo.loss import total_logp
from workers.language import adapters
from workers.language.layers import LAST, states_above, states_at
from workers.language.logprobs import Row, token_logprobs
from workers.language.model import LanguageModel
from workers.policy import POLICY
from workers.reward.frozen import MOST_KEPT, room_for_states
from workers.reward.model import BATCH, batches
from workers.world import ALONE, World


class Reference(NamedTuple):
    """The base model's view of R responses."""

    lm: LanguageModel
    rows: list[Row]
    logp: Tensor
    """Log-probability of each response, [R] in float32 on the CPU."""
    lower: int
    """The first block that the policy's adapter touches."""
    kept: list[Tensor]
    """The states [S, D] below that block of every row; empty if every block is adapted or they would not fit."""

    def policy_logp(self, chosen: Sequence[int]) -> tuple[Tensor, int]:
        """Return the policy's log-probability of some responses [B], differentiable, and how many tokens they have."""
        rows = [self.rows[row] for row in chosen]
        with adapters.using(self.lm, POLICY):
            if self.kept:
                lower = nn.utils.rnn.pad_sequence([self.kept[row] for row in chosen], batch_first=True)
                states = states_above(self.lm, rows, lower, self.lower)
            else:
                states = states_at(self.lm, rows, [LAST])[LAST]
        logp, mask = token_logprobs(self.lm, states, rows)
        return total_logp(logp, mask), int(mask.sum())


def read_reference(
    lm: LanguageModel, rows: list[Row], lower: int, done: Callable[[int, int], None], world: World = ALONE
) -> Reference:
    """Run the base model over every row once; `done(rows so far, all rows)` is called after each batch.

    The processes read one batch each at a time, then give each other what they found.
    """
    tokens = sum(len(prompt) + len(response) for prompt, response in rows)
    keep = lower > 0 and tokens * lm.model.config.hidden_size * lm.dtype.itemsize <= MOST_KEPT
    logp, kept = torch.zeros(len(rows)), room_for_states(lm, rows) if keep else []
    so_far = 0
    with torch.no_grad():
        for together in world.turns(batches(rows, BATCH)):
            for batch in world.deal(together):
                some = [rows[row] for row in batch]
                states = states_at(lm, some, [lower, LAST] if keep else [LAST])
                logp[batch] = total_logp(*token_logprobs(lm, states[LAST], some)).cpu()
                for place, row in enumerate(batch if keep else []):
                    kept[row].copy_(states[lower][place, : len(kept[row])])
            world.add([kept[row] for batch in together for row in batch] if keep else [])
            so_far += sum(map(len, together))
            done(so_far, len(rows))
    world.add([logp])
    return Reference(lm, rows, logp, lower, kept)
