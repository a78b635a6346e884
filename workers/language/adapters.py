"""LoRA adapters by name on one frozen model, in PEFT's file format.

An adapter adds `scale * B(A(x))` to the output of linear layers, scale = alpha / rank (Hu et al. 2021,
arXiv:2106.09685). It stands in for the layers' own functions while it is in use and leaves no trace otherwise, so that
no adapter means the base model itself. PEFT would do the same; it takes two seconds to import, in every child process.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from workers.language.model import LanguageModel

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PREFIX = "base_model.model."
# What PEFT can express and this file does not compute; each must be absent or false.
UNSUPPORTED = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias", "use_qalora")


class AdapterUnfit(Exception):
    """These adapter files do not fit this base model; train the adapter again on it."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


@dataclass(frozen=True)
class LoraConfig:
    """The shape of an adapter. `targets` are last names of modules, `layers` block numbers; None means all of them."""

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] | None = None
    layers: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Adapter:
    """Float32 weights by module path: A [rank, in] and B [out, rank] each."""

    config: LoraConfig
    pairs: dict[str, tuple[nn.Parameter, nn.Parameter]]

    def parameters(self) -> list[nn.Parameter]:
        """Every A and B, in a fixed order, for an optimiser."""
        return [parameter for path in sorted(self.pairs) for parameter in self.pairs[path]]


def create(lm: LanguageModel, name: str, config: LoraConfig, seed: int = 0) -> Adapter:
    """Attach a fresh adapter whose output is zero: A uniform in ±1/sqrt(in) as in PEFT, B zero."""
    modules = _targets(lm, config)
    if not modules:
        raise AdapterUnfit(
            f"The model {lm.name} has no linear layers named {config.targets} in layers {config.layers}."
        )
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for path, (width_in, width_out) in modules.items():
        a = (torch.rand(config.rank, width_in, generator=generator) * 2 - 1) / math.sqrt(width_in)
        pairs[path] = (_parameter(lm, a, True), _parameter(lm, torch.zeros(width_out, config.rank), True))
    return _keep(lm, name, Adapter(config, pairs))


def attach(lm: LanguageModel, name: str, files: Mapping[str, bytes], trainable: bool = False) -> Adapter:
    """Attach the adapter in `files` (PEFT's two files by name). Raises AdapterUnfit if it does not fit the model."""
    try:
        facts, weights = json.loads(files[CONFIG]), load_safetensors(files[WEIGHTS])
        config = LoraConfig(int(facts["r"]), float(facts["lora_alpha"]), layers=_layers(facts))
    except (KeyError, ValueError, TypeError) as error:
        raise AdapterUnfit(f"The adapter's files cannot be read ({error}). Train the adapter again.") from error
    if facts.get("peft_type") != "LORA" or any(facts.get(key) for key in UNSUPPORTED):
        raise AdapterUnfit("Only plain LoRA adapters can be used. Train one without DoRA, rank patterns and the like.")
    modules = _targets(lm, LoraConfig())
    pairs = {}
    for path in sorted({key.removeprefix(PREFIX).rsplit(".lora_", 1)[0] for key in weights}):
        a, b = (weights.get(f"{PREFIX}{path}.lora_{side}.weight") for side in "AB")
        expected = modules.get(path, (0, 0))
        if (
            a is None
            or b is None
            or (a.shape[1], b.shape[0]) != expected
            or not a.shape[0] == b.shape[1] == config.rank
        ):
            raise AdapterUnfit(f"The adapter does not fit the model {lm.name} at {path}. Train it again on this model.")
        pairs[path] = (_parameter(lm, a, trainable), _parameter(lm, b, trainable))
    targets = tuple(sorted({path.rsplit(".", 1)[1] for path in pairs}))
    return _keep(lm, name, Adapter(LoraConfig(config.rank, config.alpha, targets, config.layers), pairs))


def detach(lm: LanguageModel, name: str) -> None:
    """Forget an adapter; it is no error if it is not there."""
    lm.adapters.pop(name, None)


def files(lm: LanguageModel, name: str) -> dict[str, bytes]:
    """Return the adapter as PEFT's two files, by name; the same weights make the same bytes."""
    adapter = lm.adapters[name]
    weights = {}
    for path, (a, b) in adapter.pairs.items():
        weights[f"{PREFIX}{path}.lora_A.weight"] = a.detach().cpu().contiguous()
        weights[f"{PREFIX}{path}.lora_B.weight"] = b.detach().cpu().contiguous()
    facts = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": lm.name,
        "r": adapter.config.rank,
        "lora_alpha": float(adapter.config.alpha),
        "target_modules": sorted({path.rsplit(".", 1)[1] for path in adapter.pairs}),
        "layers_to_transform": None if adapter.config.layers is None else list(adapter.config.layers),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": any(isinstance(lm.model.get_submodule(path), Conv1D) for path in adapter.pairs),
        "inference_mode": True,
    }
    return {WEIGHTS: save_safetensors(weights), CONFIG: json.dumps(facts, indent=1, sort_keys=True).encode()}


@contextmanager
def using(lm: LanguageModel, name: str | None) -> Iterator[None]:
    """Run the model with the adapter `name`, or as the base model with None. Not for two threads at once."""
    previous = [(module, forward) for module, forward, _ in lm.hooks]
    _take_off(lm)
    _put_on(lm, [] if name is None else list(_forwards(lm, lm.adapters[name])))
    try:
        yield
    finally:
        _take_off(lm)
        _put_on(lm, previous)


def _put_on(lm: LanguageModel, forwards: list[tuple[nn.Module, Any]]) -> None:
    for module, forward in forwards:
        lm.hooks.append((module, forward, vars(module).get("forward")))
        module.forward = forward


def _take_off(lm: LanguageModel) -> None:
    for module, _, usual in lm.hooks:
        if usual is None:
            del module.forward
        else:
            module.forward = usual
    lm.hooks.clear()


def _forwards(lm: LanguageModel, adapter: Adapter) -> Iterator[tuple[nn.Module, Any]]:
    """Yield each layer that the adapter changes and what it does instead, while no adapter is on."""
    scale = adapter.config.alpha / adapter.config.rank
    for path, (a, b) in adapter.pairs.items():
        module: Any = lm.model.get_submodule(path)
        weight = module.weight.t() if isinstance(module, Conv1D) else module.weight

        def adapted(x: Tensor, usual: Any = module.forward, weight: Tensor = weight, a: Any = a, b: Any = b) -> Tensor:
            output: Tensor = _Adapted.apply(x, a, b, scale, weight, usual)  # type: ignore[no-untyped-call]
            return output

        yield module, adapted


class _Adapted(torch.autograd.Function):
    """What a layer with `weight` [out, in] gives for x [..., in], plus scale * B(A(x)), in the model's dtype.

    A and B are stored and learn in float32, where small steps add up. They are multiplied as the model multiplies: in
    bf16 that rounds what they add by no more than the sum is rounded anyway. Sums are made where their first part lies,
    on the way back too, and neither a copy of x nor of the output is kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, scale: float, weight: Tensor, usual: Any) -> Tensor:
        output: Tensor = usual(x)
        flat, a, b = x.reshape(-1, x.shape[-1]), a.to(x.dtype), b.to(x.dtype)
        inner = (flat @ a.t()).mul_(scale)
        output.view(-1, len(b)).addmm_(inner, b.t())
        ctx.scale, ctx.shape = scale, x.shape
        ctx.save_for_backward(flat, inner, a, b, weight)
        return output

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        flat, inner, a, b, weight = ctx.saved_tensors
        slope = slopes[0].reshape(-1, len(b))
        through = (slope @ b).mul_(ctx.scale)
        wanted_x, wanted_a, wanted_b = ctx.needs_input_grad[:3]
        by_x = (slope @ weight).addmm_(through, a).view(ctx.shape) if wanted_x else None
        by_a = (through.t() @ flat).float() if wanted_a else None
        by_b = (slope.t() @ inner).float() if wanted_b else None
        return by_x, by_a, by_b, None, None, None


def _targets(lm: LanguageModel, config: LoraConfig) -> dict[str, tuple[int, int]]:
    """The linear layers inside the blocks that `config` names: path -> (width in, width out)."""
    start = _blocks_path(lm)
    found = {}
    for path, module in blocks(lm).named_modules():
        layer, _, name = path.partition(".")
        wanted = config.layers is None or (layer.isdigit() and int(layer) in config.layers)
        if not wanted or (config.targets is not None and name.rsplit(".", 1)[-1] not in config.targets):
            continue
        if isinstance(module, nn.Linear):
            found[f"{start}.{path}"] = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            found[f"{start}.{path}"] = (module.weight.shape[0], module.weight.shape[1])
    return found


def linear_layers(lm: LanguageModel) -> dict[str, tuple[int, int]]:
    """The layers that an adapter can change: path -> (width in, width out)."""
    return _targets(lm, LoraConfig())


def blocks(lm: LanguageModel) -> nn.ModuleList:
    """The model's blocks in order (attention and MLP each)."""
    found = lm.model.get_submodule(_blocks_path(lm))
    assert isinstance(found, nn.ModuleList)
    return found


def _blocks_path(lm: LanguageModel) -> str:
    for path, module in lm.model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == lm.model.config.num_hidden_layers:
            return str(path)
    raise AdapterUnfit(
        f"The model {lm.name} has no list of blocks that an adapter could hang in. Choose another model."
    )


def _layers(facts: dict[str, Any]) -> tuple[int, ...] | None:
    layers = facts.get("layers_to_transform")
    return None if layers is None else tuple(int(layer) for layer in ([layers] if isinstance(layers, int) else layers))


def _parameter(lm: LanguageModel, weight: Tensor, trainable: bool) -> nn.Parameter:
    return nn.Parameter(weight.to(device=lm.device, dtype=torch.float32), requires_grad=trainable)


def _keep(lm: LanguageModel, name: str, adapter: Adapter) -> Adapter:
    lm.adapters[name] = adapter
    return adapter
