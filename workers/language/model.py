"""Load a base model by name, once, for every program that reads or writes text.

`python -m workers.language.model NAME` fetches a model ahead of time and prints where it lies.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.settings import settings
from workers.language import packaged
from workers.language.errors import ModelUnusable

# torch and transformers take seconds to import; a model that is ready is reported without them.
if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from workers.language.adapters import Adapter

TINY = "tiny"
HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer*"]
HUB_FILES += ["special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template*"]
DEFAULT_CONTEXT = 2048
# For a base model without a chat template: plain turns, each answer closed by the end-of-text token. A model whose
# tokenizer begins every text with a token of its own was trained to see it there.
DEFAULT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A base model that never changes, its tokenizer, and the adapters attached to it."""

    name: str
    model: Any  # a transformers causal language model: eval mode, no weight asks for a gradient
    tokenizer: Any
    eos: frozenset[int]  # the ids that close a turn
    context: int  # tokens, prompt and response together
    device: torch.device
    dtype: torch.dtype
    adapters: dict[str, Adapter] = field(default_factory=dict)  # by name; workers.language.adapters looks after both
    hooks: list[Any] = field(default_factory=list)  # what the adapter in use does instead of layers
    closer: int | None = None  # the one of `eos` that the chat template writes after an answer

    @property
    def end(self) -> int:
        """The id that closes an answer which nobody sampled here."""
        return min(self.eos) if self.closer is None else self.closer

    @property
    def trunk(self) -> Any:
        """The model without its output layer: ids [B, S] to hidden states [B, S, D]."""
        return self.model.base_model

    @property
    def head(self) -> Callable[[Tensor], Tensor]:
        """The output layer, with the model's own cap on its logits: hidden states [..., D] to logits [..., V]."""
        linear: Callable[[Tensor], Tensor] = self.model.get_output_embeddings()
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return linear if cap is None else lambda states: (linear(states) / cap).tanh() * cap


def prepare(name: str) -> Path | None:
    """Fetch the model `name` if it is not on this machine; return its directory, None for `tiny`.

    Raises ModelUnusable with a sentence that says what to do.
    """
    if name == TINY:
        return None
    if name == packaged.NAME:
        return packaged.prepare(settings.cache_dir)
    directory = Path(name).expanduser()
    if directory.is_dir():
        return directory
    if directory.exists() or not HUB_NAME.match(name):
        raise ModelUnusable(
            f"There is no model directory {name}. Set PAIRLOOP_BASE_MODEL to a directory with config.json and "
            f"safetensors files, to the name of a model on the Hugging Face hub, to {packaged.NAME} or to {TINY}."
        )
    return _prepare_hub(name)


def load(name: str, dtype: str = "auto") -> LanguageModel:
    """Load `smollm2-135m-instruct`, `tiny`, a directory, or a hub model, fetching it first where that is needed.

    `dtype` is `auto`, `float32` or `bfloat16`; `auto` is the one this processor is faster with (`tiny` is always
    float32). Raises ModelUnusable with a sentence that says what to do.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    directory = prepare(name)
    kind = _dtype(dtype, name)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network: Any
    if directory is None:
        from workers.language import tiny

        network, tokenizer = tiny.model(), tiny.tokenizer()
    else:
        network, tokenizer = _read_directory(name, directory, kind)
    network = network.to(device=device, dtype=kind).eval().requires_grad_(False)
    if device.type == "cpu":
        from workers.language import on_cpu

        on_cpu.arrange(network)
    if tokenizer.chat_template is None:
        begins = tokenizer.bos_token_id is not None and tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
        tokenizer.chat_template = ("{{ bos_token }}" if begins else "") + DEFAULT_TEMPLATE
    eos, closer = _turn_closers(name, network, tokenizer)
    lm = LanguageModel(
        name=name,
        model=network,
        tokenizer=tokenizer,
        eos=eos,
        context=int(getattr(network.config, "max_position_embeddings", None) or DEFAULT_CONTEXT),
        device=device,
        dtype=kind,
        closer=closer,
    )
    # SmolLM2 is tried in the tests; every child would lose half a second by trying it again.
    if directory is not None and name != packaged.NAME:
        from workers.language import probe

        probe.check(lm)
    return lm


def _read_directory(name: str, directory: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (directory / "config.json").is_file():
        raise ModelUnusable(f"{directory} has no config.json, so it is no model. Name the directory that holds one.")
    if not any(directory.glob("*.safetensors")):
        raise ModelUnusable(
            f"{directory} has no .safetensors file. Pairloop reads no pickled weights; save the model as safetensors."
        )
    try:
        network = AutoModelForCausalLM.from_pretrained(
            directory, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        # transformers raises a dozen kinds of exceptions for as many kinds of broken directories.
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelUnusable(
            f"The model {name} could not be read: {first_line} It must be a causal language model that transformers "
            "knows without remote code, with its tokenizer beside it."
        ) from error
    return network, tokenizer


def _turn_closers(name: str, network: Any, tokenizer: Any) -> tuple[frozenset[int], int | None]:
    """The ids that close a turn, by the configuration and by what the chat template writes after an answer; and which
    of them it writes, or else the tokenizer's own end."""
    stated = network.generation_config.eos_token_id if network.generation_config is not None else None
    found = {tokenizer.eos_token_id, *(stated if isinstance(stated, list) else [stated])}
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "ANSWER"}]
    try:
        _, said, after = tokenizer.apply_chat_template(turns, tokenize=False).rpartition("ANSWER")
    except Exception as error:
        # A template is a program that came with the model; what it raises is up to its author.
        raise ModelUnusable(
            f"The chat template of {name} does not accept a user's turn and an answer ({error}). Choose a model for "
            "chats, or remove its chat template: plain turns are used then."
        ) from error
    special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    closing = tokenizer(after if said else "", add_special_tokens=False)["input_ids"]
    closer = next((token for token in closing if token in special), tokenizer.eos_token_id)
    found.add(closer)
    found.discard(None)
    if not found:
        raise ModelUnusable(
            f"The model {name} has no token that ends an answer. Set eos_token_id in its generation_config.json."
        )
    return frozenset(int(token) for token in found), closer


def number_format(name: str) -> str:
    """Say which `dtype` stands behind `auto` on this machine, so that others can load the model as this one does."""
    from workers.language.precision import fastest

    return "float32" if name == TINY else str(fastest(settings.cache_dir)).removeprefix("torch.")


def _dtype(wanted: str, name: str) -> torch.dtype:
    import torch

    wanted = number_format(name) if wanted == "auto" else wanted
    if wanted not in ("float32", "bfloat16"):
        raise ValueError(f"dtype is auto, float32 or bfloat16, not {wanted!r}.")
    kind: torch.dtype = getattr(torch, wanted)
    return kind


def _prepare_hub(name: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    own = {"HF_HOME", "HF_HUB_CACHE"} & set(os.environ)
    cache = None if own else settings.cache_dir / "hub"
    try:
        # What is here already is used as it is: no network at a second start, no surprise in the middle of a project.
        return Path(snapshot_download(name, cache_dir=cache, allow_patterns=HUB_FILES, local_files_only=True))
    except Exception:
        pass
    try:
        files = HfApi().model_info(name, files_metadata=True).siblings or []
        size = sum(file.size or 0 for file in files if file.rfilename.endswith((".safetensors", ".json")))
        sys.stderr.write(f"{name}: {size / 1e6:,.0f} MB to download from the Hugging Face hub\n")
        return Path(snapshot_download(name, cache_dir=cache, allow_patterns=HUB_FILES))
    except Exception as error:
        raise ModelUnusable(
            f"The model {name} is no directory here and could not be fetched from the Hugging Face hub "
            f"({type(error).__name__}). Check the name and the network; a private model needs HF_TOKEN."
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Fetch and convert a model, and print its directory."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.language.model",
        description="Fetch a base model ahead of time and print where it lies.",
        epilog=f"Example: python -m workers.language.model {packaged.NAME}",
    )
    parser.add_argument("name", help=f"{packaged.NAME}, {TINY}, a directory, or a name on the Hugging Face hub")
    name = parser.parse_args(arguments).name
    try:
        sys.stdout.write(f"{prepare(name) or name}\n")
    except ModelUnusable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
