"""Linear layers whose weights lie as the processor's products read them, from the first product on.

PyTorch hands a weight to oneDNN row by row, which rearranges it at every call; with 16 rows, as in a step of sampling,
that takes as long as the product itself. PyTorch's own compiler stores weights like this when it freezes a model, with
the two functions that are used here; they have no other name. docs/experiments/speed.md has the figures.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

FORMATS = (torch.float32, torch.bfloat16)
ROWS = 64
"""The number of rows that oneDNN is told to expect; it makes no difference that could be seen."""


class Reordered(nn.Linear):
    """A frozen linear layer. Its `weight` stays where it is, for gradients and for whoever saves the model."""

    reordered: Tensor | None = None
    """The weight as oneDNN reads it; None before the first product and whenever the weight was moved or cast."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x [..., in] times the weight, plus the bias: [..., out]."""
        if self.weight.dtype not in FORMATS:
            return super().forward(x)
        if self.reordered is None:
            self.reordered = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), ROWS)
        if torch.is_grad_enabled() and x.requires_grad:
            return cast(Tensor, _Product.apply(x, self.weight, self.bias, self.reordered))  # type: ignore[no-untyped-call]
        return _product(x, self.reordered, self.bias)

    def _apply(self, *given: Any, **named: Any) -> Any:
        self.reordered = None
        return super()._apply(*given, **named)  # type: ignore[no-untyped-call]


class _Product(torch.autograd.Function):
    """The same product with a way back to x; the weight and the bias do not learn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, reordered: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(x, reordered, bias)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return slopes[0] @ weight, None, None, None


def _product(x: Tensor, reordered: Tensor, bias: Tensor | None) -> Tensor:
    return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, reordered, bias, "none", [], ""))


def reorder(network: nn.Module, dtype: torch.dtype) -> None:
    """Let every plain linear layer of a frozen network do its products so, if processor and PyTorch can in `dtype`."""
    if not _possible(dtype):
        return
    for module in network.modules():
        if type(module) is nn.Linear:
            module.__class__ = Reordered


def _possible(dtype: torch.dtype) -> bool:
    """Try a small product: other builds and processors have other functions, or none."""
    layer = Reordered(8, 8, bias=False).to(dtype).requires_grad_(False)
    x = torch.ones(2, 8, dtype=dtype)
    try:
        return torch.allclose(layer(x), functional.linear(x, layer.weight), rtol=0.02, atol=0.02)
    except (AttributeError, RuntimeError):
        return False
