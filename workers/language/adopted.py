"""A model trained elsewhere as one of our policies: an adapter as it is, whole weights as their difference to the base.

The engine serves many policies on one base model, so a policy must be a low-rank change of it. Whole weights are one
where somebody merged an adapter: the difference then has the adapter's rank, and nothing is lost. What differs by more
is refused, because half of it would be another model.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from workers import artifacts
from workers.language import adapters
from workers.language.adapters import Adapter, AdapterUnfit, LoraConfig
from workers.language.model import LanguageModel, load

NAME = "adopted"
MOST_RANK = 128
LEFT = 1e-3
"""The part of a layer's difference (Frobenius norm) that may be lost when it is written as an adapter."""
SAME = 1e-5
"""Relative difference of weights that rounding explains."""


def adopt(base_model: str, directory: Path, output: str, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write the model in `directory` as a policy checkpoint at `output`; return `{"url", "sha256", "rank"}`.

    Raises ValueError with a sentence for what does not fit the base model.
    """
    lm = load(base_model, "float32")
    try:
        adapter = _adapter(lm, directory) if (directory / adapters.CONFIG).exists() else _difference(lm, directory)
    except (AdapterUnfit, SafetensorError) as error:
        raise ValueError(f"This model cannot be used: {error}") from error
    if not all(bool(torch.isfinite(weight).all()) for weight in adapter.parameters()):
        raise ValueError("This model's weights are not all numbers. Its training broke; bring an earlier one.")
    lm.adapters[NAME] = adapter
    facts = {"kind": "policy", "made_by": "import", "base_model": lm.name, "rank": adapter.config.rank, **card}
    files = adapters.files(lm, NAME) | {"card.json": json.dumps(facts, indent=1, sort_keys=True).encode()}
    sha256 = artifacts.write(output, "policy", lm.name, files)
    return {"url": output, "sha256": sha256, "rank": adapter.config.rank}


def _adapter(lm: LanguageModel, directory: Path) -> Adapter:
    there = [name for name in (adapters.CONFIG, adapters.WEIGHTS) if (directory / name).is_file()]
    return adapters.attach(lm, NAME, {name: (directory / name).read_bytes() for name in there})


def _difference(lm: LanguageModel, directory: Path) -> Adapter:
    """The adapter that makes the base model into the whole weights of `directory`."""
    layers = adapters.linear_layers(lm)
    own: dict[str, Tensor] = dict(lm.model.named_parameters())
    found: dict[str, tuple[Tensor, Tensor]] = {}
    seen: set[str] = set()
    for name, weight in _weights(directory):
        if name not in own:
            if name == "lm_head.weight":
                continue  # tied to the embeddings, and saved once more
            raise AdapterUnfit(f"{lm.name} has no weights called {name}. Train it from {lm.name}, with its own code.")
        base, seen = own[name].detach().float(), seen | {name}
        if weight.shape != base.shape:
            raise AdapterUnfit(f"{name} has the shape {list(weight.shape)}; in {lm.name} it is {list(base.shape)}.")
        change = weight.float() - base
        if not bool(change.abs().max() > SAME * base.abs().max()):
            continue
        path = name.removesuffix(".weight")
        if path not in layers:
            raise AdapterUnfit(
                f"{name} was trained too, and an adapter changes linear layers alone. Train with LoRA, or make the "
                "model the base of a project of its own."
            )
        transposed = isinstance(lm.model.get_submodule(path), Conv1D)
        found[path] = _factors(path, change.T if transposed else change)
    if missing := sorted(set(layers) - {name.removesuffix(".weight") for name in seen}):
        raise AdapterUnfit(f"The weights of {missing[0]} are missing. Save the whole model, in one directory.")
    if not found:
        raise AdapterUnfit(f"These are the weights of {lm.name} itself: there is nothing new in them.")
    rank = max(b.shape[1] for _, b in found.values())
    pairs = {path: (_parameter(_wide(a, rank)), _parameter(_wide(b.T, rank).T)) for path, (a, b) in found.items()}
    targets = tuple(sorted({path.rsplit(".", 1)[1] for path in pairs}))
    return Adapter(LoraConfig(rank, float(rank), targets), pairs)


def _factors(path: str, change: Tensor) -> tuple[Tensor, Tensor]:
    """Return A [rank, in] and B [out, rank] with B A = `change` [out, in], of the smallest rank that will do."""
    u, s, v = torch.linalg.svd(change, full_matrices=False)
    left = (s**2).flip(0).cumsum(0).flip(0).sqrt() / s.norm()  # what a rank of i would lose
    enough = (left < LEFT).nonzero()
    rank = int(enough[0]) if len(enough) else len(s)
    if rank > MOST_RANK:
        raise AdapterUnfit(
            f"The change of {path} has a rank of more than {MOST_RANK}, so it is no merged adapter. Train with LoRA, "
            "or make the model the base of a project of its own."
        )
    root = s[:rank].sqrt()
    return root[:, None] * v[:rank], u[:, :rank] * root


def _weights(directory: Path) -> Iterator[tuple[str, Tensor]]:
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                yield name, opened.get_tensor(name)


def _wide(rows: Tensor, rank: int) -> Tensor:
    """Return rows [r, n] with rows of zeros after them, up to `rank`."""
    return torch.cat([rows, rows.new_zeros(rank - len(rows), rows.shape[1])])


def _parameter(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.contiguous(), requires_grad=False)
