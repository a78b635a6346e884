"""Keys and values of a batch whose rows come and go, in place: no copy of everything for a token or a finished row."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

GROWTH = 32  # columns added when the buffers are full


class RowCache(Cache):
    """What transformers asks of a cache, for rows that all have `length` columns filled.

    In row i the columns from `prefix` to `prefix + padding[i]` mean nothing and must be masked.
    """

    def __init__(self, layers: int, padding: Sequence[int] = (), prefix: int = 0, kept: int = 0) -> None:
        """Hold keys and values of so many layers, and the states of `kept` places between blocks beside them."""
        self.padding = list(padding)
        self.prefix = prefix
        self.length = 0
        self.buffers = [_Layer(self) for _ in range(layers + kept)]
        self.kept = self.buffers[layers:]  # states lie where others have keys, as one head; no values
        super().__init__(layers=list(self.buffers[:layers]))

    @property
    def rows(self) -> int:
        """How many rows are in use; the buffers may have room for more."""
        return len(self.padding)

    def make_room(self, columns: int) -> None:
        """Let the next `columns` columns fit. Padding that all rows have is thrown away on that occasion."""
        if self.buffers[0].columns >= self.length + columns or not self.buffers[0].is_initialized:
            return
        spare = 0 if self.prefix else min(self.padding, default=0)
        for layer in self.buffers:
            layer.move(self.rows, self.length - spare + columns + GROWTH, start=spare, shift=0)
        self.padding = [padding - spare for padding in self.padding]
        self.length -= spare

    def advance(self, columns: int) -> None:
        """Count the columns that a forward pass has just written in every layer."""
        self.length += columns

    def keep(self, states: Sequence[Tensor]) -> None:
        """Take in the states [rows, columns, D] of the columns that the forward pass has just written."""
        for layer, one in zip(self.kept, states, strict=True):
            layer.update(one[:, None], one[:, None, :, :0])

    def states(self, row: int) -> tuple[Tensor, ...]:
        """Return the kept states [n, D] of the n tokens of `row`, which must be without prefix here, on the CPU."""
        return tuple(layer.keys[row, 0, self.padding[row] : self.length].clone().cpu() for layer in self.kept)

    def drop(self, row: int) -> None:
        """Forget `row`: the last row takes its place."""
        last = self.padding.pop()
        if row == self.rows:
            return
        self.padding[row] = last
        for layer in self.buffers:
            layer.keys[row, :, : self.length] = layer.keys[self.rows, :, : self.length]
            layer.values[row, :, : self.length] = layer.values[self.rows, :, : self.length]

    def join(self, part: RowCache, sources: Sequence[int]) -> None:
        """Add a row for each of `sources`, a row of `part`, which must be without prefix here; all end together."""
        first, lengths = self.rows, [part.length - part.padding[source] for source in sources]
        if not self.rows:
            self.length = 0
        missing = max(max(lengths) - self.length, 0)
        self._hold(part, first + len(sources), missing)
        self.length += missing
        self.padding = [padding + missing for padding in self.padding] + [self.length - n for n in lengths]
        targets = list(range(first, self.rows))
        start = self.length - (part.length - part.prefix)
        for layer, other in zip(self.buffers, part.buffers, strict=True):
            for here, there in ((layer.keys, other.keys), (layer.values, other.values)):
                # The rest first, its padding included, then the prefix over that padding, right before the rest.
                here[targets, :, max(start, 0) : self.length] = there[
                    sources, :, part.prefix + max(-start, 0) : part.length
                ]
                for target, source in zip(targets, sources, strict=True) if part.prefix else ():
                    begin = self.padding[target]
                    here[target, :, begin : begin + part.prefix] = there[source, :, : part.prefix]

    def _hold(self, part: RowCache, rows: int, missing: int) -> None:
        """Make the buffers hold `rows` rows, with `missing` more columns at the left."""
        wanted = self.length + missing
        for layer, other in zip(self.buffers, part.buffers, strict=True):
            if not layer.is_initialized:
                layer.allocate(other.keys, other.values, rows, wanted + GROWTH)
            elif missing or layer.columns < wanted or len(layer.keys) < rows:
                # A few rows more than needed, because rows often come one after the other.
                layer.move(rows + rows // 8, wanted + GROWTH, start=0, shift=missing)


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's buffers [rows or more, heads, columns or more, width]."""

    is_sliding = False
    keys: Any
    values: Any

    def __init__(self, owner: RowCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Not a circle of references: hundreds of megabytes would wait for Python's garbage collector.
        self.owner: RowCache = weakref.proxy(owner)

    @property
    def columns(self) -> int:
        """How many columns the buffers have room for."""
        return self.keys.shape[2] if self.is_initialized else 0

    def allocate(self, keys: Tensor, values: Tensor, rows: int, columns: int) -> None:
        """Make buffers shaped after `keys` and `values`."""
        # Zeros, because padding is multiplied by an attention of zero, and 0 x NaN is NaN.
        self.keys = keys.new_zeros(rows, keys.shape[1], columns, keys.shape[3])
        self.values = values.new_zeros(rows, values.shape[1], columns, values.shape[3])
        self.is_initialized = True

    def move(self, rows: int, columns: int, start: int, shift: int) -> None:
        """Copy what is in use, from column `start` on, to column `shift` of new buffers."""
        used, end, keys, values = self.owner.rows, self.owner.length, self.keys, self.values
        self.allocate(keys, values, rows, columns)
        self.keys[:used, :, shift : shift + end - start] = keys[:used, :, start:end]
        self.values[:used, :, shift : shift + end - start] = values[:used, :, start:end]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.allocate(key_states, value_states, self.owner.rows, self.owner.length + key_states.shape[2] + GROWTH)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, start = self.owner.rows, self.owner.length
        end = start + key_states.shape[-2]
        self.keys[:rows, :, start:end] = key_states
        self.values[:rows, :, start:end] = value_states
        return self.keys[:rows, :, :end], self.values[:rows, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.owner.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.owner.length

    def get_max_length(self) -> int:
        return -1


def copies(part: RowCache, padding: Sequence[int]) -> RowCache:
    """Return a new cache whose prefix is all of the single-row cache `part`, with a row for each of `padding`."""
    kept = len(part.kept)
    whole = RowCache(len(part.buffers) - kept, padding, prefix=part.length, kept=kept)
    whole.length = part.length
    for target, source in zip(whole.buffers, part.buffers, strict=True):
        target.allocate(source.keys, source.values, len(padding), part.length + GROWTH)
        target.keys[:, :, : part.length] = source.keys[:, :, : part.length]
        target.values[:, :, : part.length] = source.values[:, :, : part.length]
    return whole


def bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Bytes that one token of one row takes in the cache, keys and values of every layer together."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * dtype.itemsize)
