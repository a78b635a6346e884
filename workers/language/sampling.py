"""Exact sampling from softmax(logits / temperature), whole or restricted to the nucleus, one random stream per row.

The nucleus (Holtzman et al. 2020, arXiv:1904.09751) is the smallest set of most probable tokens whose mass reaches
top_p; tokens as probable as its last one belong to it too. A draw from the whole distribution that falls into it *is*
a draw from the renormalised nucleus, so draws are repeated until they do: no sort, at most 1/top_p draws on average.
Rows that are still without a token after DRAWS draws take the sorted path, which leaves the distribution exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 256
DRAWS = 12


@dataclass(frozen=True)
class Settings:
    """How a response is sampled. Temperature 0 takes the most probable token; top_p 1 is the whole distribution."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256


def sample(logits: Tensor, settings: Sequence[Settings], streams: Sequence[Random]) -> tuple[Tensor, Tensor]:
    """Draw one token per row of logits [B, V], row i by settings[i] with random numbers from streams[i].

    Returns tokens [B] (int64) and their log-probabilities [B] (float32) under softmax(logits / temperature) over the
    *whole* vocabulary, whatever top_p is; a row of temperature 0 gets its log-probability at temperature 1.
    """
    temperatures = [row.temperature or 1.0 for row in settings]
    weights = logits.to(torch.float32, copy=True)
    if any(temperature != 1.0 for temperature in temperatures):
        weights.div_(torch.tensor(temperatures, device=logits.device)[:, None])
    weights.sub_(weights.amax(-1, keepdim=True)).exp_()
    total = weights.sum(-1)
    tokens = inverse_cdf(weights, _uniforms(streams, logits.device))
    _redraw_outside_nucleus(weights, total, tokens, settings, streams)
    greedy = [index for index, row in enumerate(settings) if row.temperature == 0]
    if greedy:
        tokens[greedy] = logits[greedy].argmax(-1)
    return tokens, (weights.gather(1, tokens[:, None])[:, 0] / total).log()


def inverse_cdf(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Return per row the first token whose cumulative share of `weights` [B, V] exceeds `uniforms` [B] in [0, 1).

    Two levels, first the block of 256 tokens and then the token in it, because one cumulative sum over a whole
    vocabulary is slow and, in float32, inexact. A token of weight zero is never returned.
    """
    rows, missing = weights.shape[0], -weights.shape[1] % BLOCK
    blocks = (functional.pad(weights, (0, missing)) if missing else weights).view(rows, -1, BLOCK)
    edges = blocks.sum(-1).double().cumsum(-1)
    target = uniforms.double()[:, None] * edges[:, -1:]
    block = _first_above(edges, target)
    below = torch.where(block > 0, edges.gather(1, (block - 1).clamp(min=0)), 0.0)
    inside = blocks.gather(1, block[:, :, None].expand(rows, 1, BLOCK))[:, 0].double().cumsum(-1)
    return (block * BLOCK + _first_above(inside, target - below))[:, 0]


def in_nucleus(weights: Tensor, total: Tensor, tokens: Tensor, top_p: Tensor) -> Tensor:
    """Say per row of `weights` [B, V] with sums `total` [B] whether tokens [B] is in the nucleus of top_p [B]."""
    # A comparison written as floats costs a third of a product with booleans.
    more_probable = torch.gt(weights, weights.gather(1, tokens[:, None]), out=torch.empty_like(weights))
    return more_probable.mul_(weights).sum(-1) < top_p * total


def sorted_nucleus(weights: Tensor, uniforms: Tensor, top_p: Tensor) -> Tensor:
    """Draw from the nucleus by sorting the vocabulary: the definition itself, an order of magnitude slower."""
    ordered, ids = torch.sort(weights.double(), dim=-1, descending=True, stable=True)
    inside = ordered.cumsum(-1) - ordered < top_p[:, None] * ordered.sum(-1, keepdim=True)
    least = ordered.gather(1, inside.sum(-1, keepdim=True) - 1)
    kept = torch.where(ordered >= least, ordered, 0.0)
    return ids.gather(1, inverse_cdf(kept, uniforms)[:, None])[:, 0]


def _redraw_outside_nucleus(
    weights: Tensor, total: Tensor, tokens: Tensor, settings: Sequence[Settings], streams: Sequence[Random]
) -> None:
    waiting = [index for index, row in enumerate(settings) if row.top_p < 1.0]
    top_p = torch.tensor([row.top_p for row in settings], device=weights.device)
    for draw in range(DRAWS):
        if not waiting:
            return
        part = weights[waiting] if len(waiting) < len(settings) else weights
        if draw > 0:
            tokens[waiting] = inverse_cdf(part, _uniforms([streams[i] for i in waiting], weights.device))
        accepted = in_nucleus(part, total[waiting], tokens[waiting], top_p[waiting]).tolist()
        waiting = [index for index, fits in zip(waiting, accepted, strict=True) if not fits]
    if waiting:
        uniforms = _uniforms([streams[i] for i in waiting], weights.device)
        tokens[waiting] = sorted_nucleus(weights[waiting], uniforms, top_p[waiting])


def _uniforms(streams: Sequence[Random], device: torch.device) -> Tensor:
    return torch.tensor([stream.random() for stream in streams], dtype=torch.float64, device=device)


def _first_above(cumulative: Tensor, target: Tensor) -> Tensor:
    """The first index whose cumulative sum [B, N] is above target [B, 1]; never one past the last positive weight."""
    last_positive = (cumulative < cumulative[:, -1:]).sum(-1, keepdim=True)
    return torch.searchsorted(cumulative, target, right=True).minimum(last_positive)
