"""Rows that begin alike share their beginnings: every different token is computed once, and no padding at all.

A state depends on the tokens up to its own and on nothing else, so rows are laid out as the tree of their tokens: one
packed row [1, N, D] in place of padded rows [B, S, D]. Only attention needs whole rows; on_cpu unpacks its queries,
keys and values there and packs what it found, and on the way back the gradients of a shared token are added up. The
numbers are those of padded rows but for rounding. A system turn, a prompt that several answers share, and the padding
are a third of a batch's tokens and more.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workers.language import on_cpu
from workers.language.model import LanguageModel

FAMILIES = ("llama", "qwen2", "gpt2", "gemma3_text")
"""Kinds of models whose tokens meet in attention alone and whose positions are told by number; the tests see each."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the tokens of B rows of at most S tokens lie among the N different ones."""

    ids: Tensor
    """The different tokens, [1, N]."""
    positions: Tensor
    """The place of each in its rows, [1, N]."""
    place: Tensor
    """By row and position the token's number, [B, S]; 0 beyond a row's end."""
    owner: Tensor
    """By token the first row and position it stands at, as a number row * S + position, [N]."""
    shared: tuple[tuple[int, int, int, int], ...]
    """Stretches that a row shares with an earlier one: row, begin, end, number of the first of these tokens."""

    def pack(self, whole: Tensor) -> Tensor:
        """Return from whole rows [B, S, C] the different tokens [N, C]."""
        packed: Tensor = _Pack.apply(whole, self)  # type: ignore[no-untyped-call]
        return packed

    def unpack(self, packed: Tensor) -> Tensor:
        """Return from the different tokens [N, C] whole rows [B, S, C]; beyond a row's end stands the first token."""
        whole: Tensor = _Unpack.apply(packed, self)  # type: ignore[no-untyped-call]
        return whole


class Batch(NamedTuple):
    """Rows laid out for the trunk, packed if that saves anything and padded otherwise."""

    ids: Tensor
    """What the trunk reads, [1, N] or [B, S]."""
    told: dict[str, Any]
    """What the trunk must be told beside them."""
    layout: Layout | None

    def whole(self, states: Tensor) -> Tensor:
        """Return from the trunk's states those of whole rows [B, S, D]."""
        return states if self.layout is None else self.layout.unpack(states[0])

    def own(self, states: Tensor) -> Tensor:
        """Return from the states of whole rows [B, S, D] the trunk's."""
        return states if self.layout is None else self.layout.pack(states)[None]


def layout_of(lm: LanguageModel, rows: Sequence[list[int]]) -> Layout | None:
    """Return how rows of ids are packed; None where the model must have them padded, or nothing would be saved."""
    config, longest = lm.model.config, max(map(len, rows))
    window = getattr(config, "sliding_window", None)
    if config.model_type not in FAMILIES or config._attn_implementation != on_cpu.NAME or (window and longest > window):
        return None
    place = torch.zeros(len(rows), longest, dtype=torch.long)
    ids: list[int] = []
    positions: list[int] = []
    owner: list[int] = []
    shared: list[tuple[int, int, int, int]] = []
    before: list[int] = []
    stretches: list[tuple[int, int, int]] = []  # begin, end and first number of the tokens of the row before
    # In the order of their tokens a row shares with the one before it all that it shares with any earlier one.
    for row in sorted(range(len(rows)), key=lambda row: rows[row]):
        own = rows[row]
        differ = (at for at, (a, b) in enumerate(zip(before, own, strict=False)) if a != b)
        alike = next(differ, min(len(before), len(own)))
        kept = [(begin, min(end, alike), first) for begin, end, first in stretches if begin < alike]
        shared += [(row, *one) for one in kept]
        stretches = [*kept, (alike, len(own), len(ids))] if alike < len(own) else kept
        for begin, end, first in stretches:
            place[row, begin:end] = torch.arange(first, first + end - begin)
        ids += own[alike:]
        positions += range(alike, len(own))
        owner += range(row * longest + alike, row * longest + len(own))
        before = own
    if len(ids) == place.numel():
        return None
    made = (torch.tensor([ids]), torch.tensor([positions]), place, torch.tensor(owner))
    told, at, where, owners = (one.to(lm.device) for one in made)
    return Layout(told, at, where, owners, tuple(shared))


@contextmanager
def packed(lm: LanguageModel, rows: Sequence[list[int]]) -> Iterator[Batch]:
    """Lay rows of ids out for a forward pass of the trunk, which must happen inside the context."""
    layout = layout_of(lm, rows)
    if layout is None:
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        yield Batch(ids.to(lm.device), {}, None)
        return
    before = on_cpu.PACKED.set(layout)
    try:
        # A mask of four dimensions is handed on as it is, and attention does not look at it.
        mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=layout.ids.device)
        yield Batch(layout.ids, {"position_ids": layout.positions, "attention_mask": mask}, layout)
    finally:
        on_cpu.PACKED.reset(before)


class _Unpack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, packed: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return packed.index_select(0, layout.place.flatten()).view(*layout.place.shape, -1)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        (slope,), layout = slopes, ctx.layout
        found = slope.flatten(0, 1).index_select(0, layout.owner)
        for row, begin, end, first in layout.shared:
            found[first : first + end - begin] += slope[row, begin:end]
        return found, None


class _Pack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return whole.flatten(0, 1).index_select(0, layout.owner)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        (slope,), layout = slopes, ctx.layout
        found = slope.new_zeros(layout.place.numel(), slope.shape[1])
        found[layout.owner] = slope
        return found.view(*layout.place.shape, -1), None
