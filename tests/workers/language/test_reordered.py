"""A linear layer whose weight was rearranged for the processor gives what a plain one gives, forwards and backwards."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from workers.language.reordered import Reordered, reorder

FORMATS = [torch.float32, torch.bfloat16]


def layer(dtype: torch.dtype, bias: bool = True) -> Reordered:
    """A network of one frozen layer from 24 to 40."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(24, 40, bias=bias)).to(dtype).requires_grad_(False)
    reorder(network, dtype)
    (found,) = network
    assert isinstance(found, Reordered)
    return found


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 24), (3, 5, 24), (1, 700, 24)])
def test_nothing_but_rounding_changes(dtype: torch.dtype, bias: bool, shape: tuple[int, ...]) -> None:
    one = layer(dtype, bias)
    x, other = torch.randn(shape).to(dtype).requires_grad_(), torch.randn(*shape[:-1], 40).to(dtype)
    with torch.no_grad():
        found = one(x)
    usual = functional.linear(x, one.weight, one.bias)
    rounding = 1e-5 if dtype == torch.float32 else 0.02
    assert found.shape == usual.shape
    assert torch.allclose(found, usual, rtol=rounding, atol=rounding)
    # With a way back the product itself is the same to the last digit, or PPO's first ratio would not be 1.
    learned = one(x)
    assert torch.equal(learned, found)
    assert torch.allclose(
        torch.autograd.grad(learned, x, other)[0], torch.autograd.grad(usual, x, other)[0], rtol=rounding, atol=rounding
    )


def test_a_layer_that_was_cast_is_rearranged_anew() -> None:
    one, x = layer(torch.bfloat16), torch.randn(2, 24)
    before = one(x.bfloat16())
    one.float()
    one.weight.data *= 2
    one.bias.data *= 2
    assert torch.allclose(one(x), 2 * before.float(), rtol=0.05, atol=0.05)


def test_what_is_saved_is_the_plain_weight() -> None:
    one = layer(torch.float32)
    one(torch.randn(2, 24))
    assert set(one.state_dict()) == {"weight", "bias"}
