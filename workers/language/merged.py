"""A policy as a Hugging Face directory: its adapter added to the weights, in float32, for programs without Pairloop."""

from pathlib import Path

from transformers.pytorch_utils import Conv1D

from workers import artifacts
from workers.artifacts import ArtifactDamaged
from workers.language import adapters
from workers.language.adapters import Adapter, AdapterUnfit
from workers.language.errors import ModelUnusable
from workers.language.model import LanguageModel, load

POLICY = "policy"


def export_checkpoint(base_model: str, url: str, sha256: str, directory: Path) -> None:
    """Write the policy at `url` to `directory`, which must be new or empty. Raises ValueError with a sentence."""
    _check_empty(directory)
    try:
        # In bf16 the merged weights would lose what the adapter changed.
        lm = load(base_model, "float32")
        adapter = adapters.attach(lm, POLICY, artifacts.read(url, sha256))
    except (ArtifactDamaged, AdapterUnfit, ModelUnusable) as error:
        raise ValueError(str(error)) from error
    add(lm, adapter)
    lm.model.save_pretrained(directory)
    lm.tokenizer.save_pretrained(directory)


def export_adapter(base_model: str, url: str, sha256: str, directory: Path) -> None:
    """Write the adapter alone, PEFT's two files, to `directory`, which must be new or empty. Raises ValueError."""
    _check_empty(directory)
    try:
        files = artifacts.read(url, sha256)
    except ArtifactDamaged as error:
        raise ValueError(str(error)) from error
    directory.mkdir(parents=True, exist_ok=True)
    for name in (adapters.WEIGHTS, adapters.CONFIG):
        (directory / name).write_bytes(files[name])


def _check_empty(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} is not empty. Name a directory that is new.")


def add(lm: LanguageModel, adapter: Adapter) -> None:
    """Add an adapter to the weights of its language model, in float32; there is no way back."""
    network = lm.model.float()
    for path, (a, b) in adapter.pairs.items():
        module = network.get_submodule(path)
        update = adapter.config.alpha / adapter.config.rank * (b @ a).detach()
        module.weight.data += update.T if isinstance(module, Conv1D) else update
