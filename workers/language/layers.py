"""Run a part of the model: states after several blocks in one pass, and the upper blocks on states kept from before.

Adapters on the upper blocks alone leave the lower states untouched, so these are computed once and shared by the
policy, the base model and the reward model.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from workers.language.adapters import blocks
from workers.language.logprobs import Row, hidden_states
from workers.language.model import LanguageModel
from workers.language.packing import packed

LAST = -1
"""The layer after the final norm, which the output layer reads."""


def block_count(lm: LanguageModel) -> int:
    """Return how many blocks the model has."""
    return len(blocks(lm))


def upper_blocks(lm: LanguageModel, count: int) -> int:
    """Return the first of the last `count` blocks; 0 means all of them, and so does a count beyond the model's."""
    return max(0, block_count(lm) - count) if count else 0


def states_at(lm: LanguageModel, rows: Sequence[Row], layers: Sequence[int]) -> dict[int, Tensor]:
    """Return the states [B, S, D] after each of `layers` blocks (LAST: after the final norm), in one forward pass.

    Rows are padded on the right; states beyond a row's length mean nothing. Uses the adapter that is in use.
    """
    inner = [layer for layer in layers if layer != LAST]
    if LAST not in layers and len(inner) == 1:
        return {inner[0]: hidden_states(lm, list(rows), inner[0])[0]}
    modules = blocks(lm)
    with inputs_caught(lm, [layer for layer in inner if layer < len(modules)]) as caught, ExitStack() as stack:
        if len(modules) in inner:
            hook = _output_catcher(caught, len(modules))
            stack.callback(modules[-1].register_forward_hook(hook).remove)
        with packed(lm, [prompt + response for prompt, response in rows]) as batch:
            caught[LAST] = lm.trunk(batch.ids, use_cache=False, **batch.told)[0]
            return {layer: batch.whole(states) for layer, states in caught.items()}


def states_above(lm: LanguageModel, rows: Sequence[Row], lower: Tensor, layer: int) -> Tensor:
    """Return the last states [B, S, D] of the rows from `lower`, their states [B, S, D] after `layer` blocks.

    The same as a whole pass if no adapter in use touches the blocks below. Differentiable in the adapter's weights.
    """
    if layer >= block_count(lm):
        raise ValueError(f"There is no block above {layer} in the model {lm.name}.")
    with packed(lm, [prompt + response for prompt, response in rows]) as batch:
        with _starting_at(lm, batch.own(lower), layer):
            states: Tensor = lm.trunk(batch.ids, use_cache=False, **batch.told)[0]
        return batch.whole(states)


@contextmanager
def inputs_caught(lm: LanguageModel, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Catch the states [B, S, D] after each of `layers` blocks, of which none is the last, of a pass that follows."""
    caught: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for layer in layers:
            hook = _input_catcher(caught, layer)
            stack.callback(blocks(lm)[layer].register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield caught


@contextmanager
def _starting_at(lm: LanguageModel, lower: Tensor, layer: int) -> Iterator[None]:
    """Let the blocks below `layer` do nothing and hand `lower` to the block at `layer`."""
    modules = blocks(lm)

    def pass_on(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden

    def put_in(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return ((lower, *inputs[1:]), named) if inputs else (inputs, {**named, "hidden_states": lower})

    handle = modules[layer].register_forward_pre_hook(put_in, with_kwargs=True)
    for module in modules[:layer]:
        module.forward = pass_on
    try:
        yield
    finally:
        handle.remove()
        for module in modules[:layer]:
            del module.forward


def _input_catcher(caught: dict[int, Tensor], layer: int) -> Callable[..., None]:
    def catch(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        caught[layer] = inputs[0] if inputs else named["hidden_states"]

    return catch


def _output_catcher(caught: dict[int, Tensor], layer: int) -> Callable[..., None]:
    def catch(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        caught[layer] = output[0] if isinstance(output, tuple) else output

    return catch
