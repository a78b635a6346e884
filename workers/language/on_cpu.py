"""How a model is arranged for a processor without a GPU: the same numbers but for rounding, in less time.

What each of the two brings is written in docs/experiments/speed.md.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from workers.language.reordered import reorder

if TYPE_CHECKING:
    from workers.language.packing import Layout

NAME = "pairloop_cpu"
LONGEST = 256
"""Columns up to which attention is two products with a softmax between; its matrices are kept for the way back."""


PACKED: ContextVar[Layout | None] = ContextVar("packed", default=None)
"""How the rows that are being read are packed; None where they are padded."""


def arrange(network: Any) -> None:
    """Arrange a transformers model on the CPU, in place."""
    if network.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        network.set_attn_implementation(NAME)
    reorder(network, network.dtype)


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: Any
) -> tuple[Tensor, Tensor | None]:
    """Causal attention of queries [B, H, S, D] to keys and values [B, G, T, D]; returns [B, S, H, D].

    Packed rows, [1, H, N, D], become whole ones for it.
    """
    layout = PACKED.get()
    if layout is None:
        return _attention(module, query, key, value, attention_mask, **more)
    asked, keys, values = (_whole(layout, one) for one in (query, key, value))
    found = _attention(module, asked, keys, values, None, **more)[0]
    return layout.pack(found.flatten(2)).view(1, -1, *found.shape[2:]), None


def _whole(layout: Layout, packed: Tensor) -> Tensor:
    """Whole rows [B, H, S, D] of packed ones [1, H, N, D]."""
    _, heads, _, width = packed.shape
    rows = layout.unpack(packed[0].transpose(0, 1).flatten(1))
    return rows.view(*rows.shape[:2], heads, width).transpose(1, 2)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: Any
) -> tuple[Tensor, Tensor | None]:
    """Whole short rows are done here, H / G queries to a key at once; all else is left to PyTorch's own function, which
    is slower there, above all on the way back. A single token's H / G queries to a key are given to it as if they were
    as many tokens, which is the same and reads a key once."""
    batch, heads, length, width = query.shape
    groups, columns = key.shape[1:3]
    plain = not more.get("dropout") and more.get("position_bias") is None and more.get("softcap") is None
    alike = attention_mask is None or attention_mask.shape[1] == 1  # for all heads
    if plain and alike and length == 1 and value.shape[-1] == width:
        asked = query.reshape(batch, groups, -1, width)
        single = functional.scaled_dot_product_attention(asked, key, value, attention_mask, scale=more.get("scaling"))
        return single.reshape(batch, heads, 1, width).transpose(1, 2), None
    whole = attention_mask is None and length == columns <= LONGEST and more.get("is_causal") is not False
    if not whole or not plain or value.shape[-1] != width:
        found: tuple[Tensor, Tensor | None] = sdpa_attention_forward(module, query, key, value, attention_mask, **more)
        return found
    scaling = more.get("scaling")
    asked = (query * (width**-0.5 if scaling is None else scaling)).reshape(batch, groups, -1, width)
    scores = (asked @ key.transpose(2, 3)).view(batch, groups, heads // groups, length, length)
    later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    shares = scores.masked_fill_(later, float("-inf")).softmax(-1).view(batch, groups, -1, length)
    return (shares @ value).view(batch, heads, length, width).transpose(1, 2), None
