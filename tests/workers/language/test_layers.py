"""A part of the model gives the same states as the whole, with and without an adapter."""

import pytest
import torch

from workers.language.adapters import LoraConfig, create, using
from workers.language.layers import LAST, block_count, states_above, states_at, upper_blocks
from workers.language.logprobs import Row, hidden_states
from workers.language.model import LanguageModel

ROWS: list[Row] = [([5, 6, 7], [8, 9]), ([10, 11], [12, 13, 14, 15, 2])]


def test_several_layers_come_out_of_one_pass(family: LanguageModel) -> None:
    lm = family
    found = states_at(lm, ROWS, [0, 1, 3, LAST])
    for layer in (0, 1, 3, LAST):
        assert torch.equal(found[layer], hidden_states(lm, ROWS, layer)[0])
    assert torch.equal(states_at(lm, ROWS, [1])[1], found[1])


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_upper_blocks_continue_where_the_lower_ones_stopped(family: LanguageModel, layer: int) -> None:
    lm = family
    lower, base = states_at(lm, ROWS, [layer])[layer], hidden_states(lm, ROWS)[0]
    create(lm, "upper", LoraConfig(4, 8, layers=(2,)), seed=1)
    with torch.no_grad():
        for parameter in lm.adapters["upper"].parameters():
            parameter.add_(0.1)
    with using(lm, "upper"):
        assert torch.equal(states_above(lm, ROWS, lower, layer), hidden_states(lm, ROWS)[0])
        assert not torch.equal(states_above(lm, ROWS, lower, layer), base)
    assert torch.equal(states_above(lm, ROWS, lower, layer), base)
    with pytest.raises(ValueError, match="no block above 3"):
        states_above(lm, ROWS, lower, 3)


def test_gradients_reach_the_adapter_through_the_upper_blocks_alone(family: LanguageModel) -> None:
    lm = family
    adapter = create(lm, "upper", LoraConfig(4, 8, layers=(1, 2)), seed=1)
    lower = states_at(lm, ROWS, [1])[1].detach()
    with using(lm, "upper"):
        gradients = torch.autograd.grad(states_above(lm, ROWS, lower, 1).sum(), adapter.parameters())
        whole = torch.autograd.grad(hidden_states(lm, ROWS)[0].sum(), adapter.parameters())
    for one, other in zip(gradients, whole, strict=True):
        assert torch.equal(one, other)


def test_the_upper_blocks_are_counted_from_the_top(tiny: LanguageModel) -> None:
    assert block_count(tiny) == 2
    assert [upper_blocks(tiny, count) for count in (0, 1, 2, 8)] == [0, 1, 0, 0]
