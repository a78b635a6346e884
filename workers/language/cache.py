"""Keys and values of a batch that shrinks, in place: no copy of the whole cache for a new token or a finished row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

GROWTH = 64  # columns added when a buffer is full


class RowCache(Cache):
    """What transformers asks of a cache, for `rows` rows that have all `length` columns filled (padding included)."""

    def __init__(self, layers: int, rows: int) -> None:
        self.rows = rows
        self.length = 0
        self.buffers = [_Layer(self) for _ in range(layers)]
        super().__init__(layers=list(self.buffers))

    def advance(self, columns: int) -> None:
        """Count the columns that a forward pass has just written in every layer."""
        self.length += columns

    def drop(self, row: int) -> None:
        """Forget `row`: the last row takes its place."""
        self.rows -= 1
        for layer in self.buffers:
            if layer.is_initialized and row < self.rows:
                layer.keys[row, :, : self.length] = layer.keys[self.rows, :, : self.length]
                layer.values[row, :, : self.length] = layer.values[self.rows, :, : self.length]


def spread(parts: list[tuple[RowCache, list[list[int]]]], rows: int, prefix: int = 0) -> RowCache:
    """Join caches of prompts into one of `rows` rows; `parts` has each cache with the target rows of each of its rows.

    The first `prefix` columns, which all share, stay where they are; shorter parts get padding after them. Empties the
    caches it reads, layer by layer, so that little exists twice.
    """
    length = max(part.length for part, _ in parts)
    whole = RowCache(len(parts[0][0].buffers), rows)
    whole.length = length
    for index, target in enumerate(whole.buffers):
        for part, targets in parts:
            source = part.buffers[index]
            target.allocate(source.keys, source.values, length)
            come_from = [row for row, goes_to in enumerate(targets) for _ in goes_to]
            goes_to = [row for group in targets for row in group]
            start = prefix + length - part.length
            for there, here in ((target.keys, source.keys), (target.values, source.values)):
                there[goes_to, :, :prefix] = here[come_from, :, :prefix]
                there[goes_to, :, start:length] = here[come_from, :, prefix : part.length]
            source.keys = source.values = None
    return whole


def copies(part: RowCache, rows: int) -> RowCache:
    """Return a new cache whose `rows` rows are all like the single row of `part`."""
    whole = RowCache(len(part.buffers), rows)
    whole.length = part.length
    for target, source in zip(whole.buffers, part.buffers, strict=True):
        target.allocate(source.keys, source.values, part.length)
        target.keys[:, :, : part.length] = source.keys[:, :, : part.length]
        target.values[:, :, : part.length] = source.values[:, :, : part.length]
    return whole


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's buffers [rows or more, heads, columns or more, width]."""

    is_sliding = False
    keys: Any
    values: Any

    def __init__(self, owner: RowCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.owner = owner

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.allocate(key_states, value_states, key_states.shape[-2])

    def allocate(self, keys: Tensor, values: Tensor, columns: int) -> None:
        """Make zeroed buffers for the owner's rows, shaped after `keys` and `values`, if there are none."""
        if not self.is_initialized:
            # Zeros, because padding is multiplied by an attention of zero, and 0 x NaN is NaN.
            self.keys = keys.new_zeros(self.owner.rows, keys.shape[1], columns + GROWTH, keys.shape[3])
            self.values = values.new_zeros(self.owner.rows, values.shape[1], columns + GROWTH, values.shape[3])
            self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        rows, start = self.owner.rows, self.owner.length
        end = start + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if end > self.keys.shape[2]:
            self.keys, self.values = self._grown(self.keys, end), self._grown(self.values, end)
        self.keys[:rows, :, start:end] = key_states
        self.values[:rows, :, start:end] = value_states
        return self.keys[:rows, :, :end], self.values[:rows, :, :end]

    def _grown(self, buffer: Tensor, columns: int) -> Tensor:
        rows, length = self.owner.rows, self.owner.length
        grown = buffer.new_zeros(rows, buffer.shape[1], columns + GROWTH, buffer.shape[3])
        grown[:, :, :length] = buffer[:rows, :, :length]
        return grown

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.owner.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.owner.length

    def get_max_length(self) -> int:
        return -1


def bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Bytes that one token of one row takes in the cache, keys and values of every layer together."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * dtype.itemsize)
