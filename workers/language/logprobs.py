"""The one log-probability function: teacher-forced, at response positions only, differentiable, no logits kept.

Where a prompt ends and how long a response is are data (`rows`); nothing is ever read out of a pad id. Rows are packed
(workers/language/packing.py), or padded on the right, where a causal model cannot see the padding from any real
position, so no attention mask is needed.
"""

from typing import Any

import torch
from torch import Tensor

from workers.language.adapters import blocks
from workers.language.model import LanguageModel
from workers.language.packing import Batch, packed

Row = tuple[list[int], list[int]]  # prompt ids, response ids
CHUNK = 256
"""Positions whose logits exist at a time."""
CACHED = 1 << 18
"""Logits that are worked on at a time: few enough for the processor's second cache."""


class _Reached(Exception):
    """The wanted layer has been computed; the layers above it are not needed."""


def hidden_states(lm: LanguageModel, rows: list[Row], layer: int = -1) -> tuple[Tensor, Tensor, Tensor]:
    """Return the hidden states of prompt + response, with the adapter that is in use.

    `layer` -1 is the last one after the final norm (what the output layer reads); `layer` k >= 0 is the residual
    stream after k blocks, for which only those k blocks are run. Returns states [B, S, D] in the model's dtype, whole
    lengths [B] and prompt lengths [B] (int64). States beyond a row's length mean nothing.
    """
    lengths = torch.tensor([len(prompt) + len(response) for prompt, response in rows])
    prompt_lengths = torch.tensor([len(prompt) for prompt, _ in rows])
    with packed(lm, [prompt + response for prompt, response in rows]) as batch:
        last = layer == -1
        states = lm.trunk(batch.ids, use_cache=False, **batch.told)[0] if last else _after_blocks(lm, batch, layer)
        states = batch.whole(states)
    return states, lengths.to(lm.device), prompt_lengths.to(lm.device)


def response_logprobs(
    lm: LanguageModel, rows: list[Row], temperature: float = 1.0, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """Return log p(response token | everything before it) of softmax(logits / temperature), with the adapter in use.

    Returns log-probabilities [B, R] (float32, 0 beyond a row's response) and the mask [B, R] (bool) of real tokens,
    R the longest response. Differentiable in the adapter's weights.
    """
    return token_logprobs(lm, hidden_states(lm, rows)[0], rows, temperature, chunk)


def token_logprobs(
    lm: LanguageModel, states: Tensor, rows: list[Row], temperature: float = 1.0, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """The same from last hidden states [B, S, D] that are there already; `chunk` positions' logits exist at a time."""
    mask = torch.zeros(len(rows), max((len(response) for _, response in rows), default=0), dtype=torch.bool)
    where_row: list[int] = []
    where_position: list[int] = []
    wanted: list[int] = []
    for index, (prompt, response) in enumerate(rows):
        if not prompt:
            raise ValueError("A response needs a prompt of at least one token before it.")
        mask[index, : len(response)] = True
        where_row += [index] * len(response)
        # The state at position p - 1 predicts the token at position p.
        where_position += range(len(prompt) - 1, len(prompt) - 1 + len(response))
        wanted += response
    tokens = torch.tensor(wanted, dtype=torch.long, device=states.device)
    picked = states[torch.tensor(where_row, dtype=torch.long), torch.tensor(where_position, dtype=torch.long)]
    mask = mask.to(states.device)
    values = _TokenLogprobs.apply(picked, tokens, lm.head, temperature, chunk)  # type: ignore[no-untyped-call]
    logprobs = torch.zeros(mask.shape, dtype=torch.float32, device=states.device)
    return logprobs.masked_scatter(mask, values), mask


class _TokenLogprobs(torch.autograd.Function):
    """States [N, D] and tokens [N] to log-probabilities [N].

    A token's log-probability depends on its own state alone, so its gradient with respect to that state is computed
    at once in the forward pass, and no [N, V] logits wait for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, tokens: Tensor, head: Any, temperature: float, chunk: int) -> Tensor:
        wants_gradient = ctx.needs_input_grad[0]
        values, gradients = [], []
        for part, token in zip(torch.split(states, chunk), torch.split(tokens, chunk), strict=True):
            with torch.set_grad_enabled(wants_gradient):
                leaf = part.detach().requires_grad_(wants_gradient)
                logits = head(leaf)
            value, slope = logits.new_empty(len(token), 1, dtype=torch.float32), logits.detach()
            few = max(1, CACHED // logits.shape[1]) if logits.is_cpu else len(token)
            parts = (torch.split(whole, few) for whole in (slope, token[:, None], value))
            for some, own, one in zip(*parts, strict=True):
                scaled = some.float() if temperature == 1.0 else some.float() / temperature
                shares = torch.softmax(scaled, -1)
                # The share of the most probable token is far from 0 and says what all were divided by.
                most, its_share = scaled.amax(-1, keepdim=True), shares.amax(-1, keepdim=True)
                torch.add(scaled.gather(1, own) - most, its_share.log_(), out=one)
                if wants_gradient:
                    # A log-probability's slope by its logits is 1 at its token, less the shares; this is the negative.
                    some.copy_(shares.scatter_add_(1, own, torch.full_like(one, -1.0)))
            values.append(value[:, 0])
            if wants_gradient:
                gradients.append(torch.autograd.grad(logits, leaf, slope)[0] * (-1 / temperature))
        if wants_gradient:
            ctx.save_for_backward(torch.cat(gradients) if gradients else torch.zeros_like(states))
        return torch.cat(values) if values else states.new_zeros(0, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradients,) = ctx.saved_tensors
        return (gradients * upstream[0][:, None]).to(gradients.dtype), None, None, None, None


def _after_blocks(lm: LanguageModel, batch: Batch, layer: int) -> Tensor:
    modules = blocks(lm)
    if not 0 <= layer <= len(modules):
        raise ValueError(f"The model {lm.name} has {len(modules)} blocks; there is no state after {layer} of them.")
    caught: list[Tensor] = []

    def catch_input(_module: Any, inputs: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        caught.append(inputs[0] if inputs else named["hidden_states"])
        raise _Reached

    def catch_output(_module: Any, _inputs: Any, output: Any) -> None:
        caught.append(output[0] if isinstance(output, tuple) else output)
        raise _Reached

    if layer < len(modules):
        handle = modules[layer].register_forward_pre_hook(catch_input, with_kwargs=True)
    else:
        handle = modules[-1].register_forward_hook(catch_output)
    try:
        lm.trunk(batch.ids, use_cache=False, **batch.told)
    except _Reached:
        pass
    finally:
        handle.remove()
    return caught[0]
