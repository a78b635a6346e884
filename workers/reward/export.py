"""A reward model as a Hugging Face directory: adapters merged, and a loader that needs no Pairloop."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from workers.artifacts import ArtifactDamaged
from workers.language import merged
from workers.language.adapters import AdapterUnfit
from workers.language.errors import ModelUnusable
from workers.language.layers import LAST, block_count
from workers.language.model import LanguageModel, load
from workers.reward.model import POOLS, WORDS, RewardModel, load_reward

LOADER = Path(__file__).with_name("standalone.py")
CARD = """# A reward model on {base}

It reads a conversation and a response and gives one number: zero is the average answer of {base} to the project's
prompts, one the standard deviation of its answers' scores; higher is better. It was exported from Pairloop.

```python
from reward_model import Reward

Reward(".").score([{{"role": "user", "content": "Name a tree."}}], "An oak.")
```

{plain}
"""
PLAIN = """`AutoModelForSequenceClassification.from_pretrained(".")` reads it too. Its single logit for the whole
conversation, which ends with the response and `{end}`, is the score less a constant of {constant:+.6g}, because its
layer has none; where only the order of responses matters, leave that out."""
NOT_PLAIN = """Its score comes from more than the last token, so `AutoModelForSequenceClassification` cannot compute it:
use `reward_model.py` as above, a few lines that need torch, transformers and safetensors alone."""


class Part(NamedTuple):
    """A share of the score: `weights` [D] times the states after `layer` blocks, pooled over the response."""

    layer: int
    pooled: str
    weights: Tensor


def export_checkpoint(base_model: str, url: str, sha256: str, directory: Path) -> bool:
    """Write the reward checkpoint at `url` to `directory`, in float32, as `export` does. Raises ValueError."""
    try:
        # In bf16 the merged weights would lose what the adapters changed.
        return export(load_reward(load(base_model, "float32"), url, sha256), directory)
    except (ArtifactDamaged, AdapterUnfit, ModelUnusable) as error:
        raise ValueError(str(error)) from error


def export(model: RewardModel, directory: Path) -> bool:
    """Write model, tokenizer, head and loader to `directory`, which must be new or empty.

    Returns whether AutoModelForSequenceClassification can compute the score: only where the last token's last state
    is all that counts. The language model is used up, because a second copy of its weights may not fit into memory.
    Raises ValueError with a sentence.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} is not empty. Name a directory that is new.")
    shares, constant = parts(model)
    plain = [(one.layer, one.pooled) for one in shares] == [(LAST, "last")]
    lm, tokenizer, pad = model.lm, model.lm.tokenizer, padding(model.lm)
    merge(model)
    lm.model.config.pad_token_id, tokenizer.pad_token = pad, tokenizer.convert_ids_to_tokens(pad)
    network = _classifier(lm.model, shares[0].weights) if plain else lm.trunk
    network.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    save_file({"weights": torch.stack([one.weights for one in shares])}, directory / "reward_head.safetensors")
    listed = [{"layer": one.layer, "pooled": one.pooled} for one in shares]
    head = {"parts": listed, "constant": constant, "end_of_turn": lm.end}
    (directory / "reward_head.json").write_text(json.dumps(head, indent=1))
    (directory / "reward_model.py").write_bytes(LOADER.read_bytes())
    end = tokenizer.convert_ids_to_tokens(lm.end)
    card = CARD.format(base=lm.name, plain=PLAIN.format(constant=constant, end=end) if plain else NOT_PLAIN)
    (directory / "README.md").write_text(card)
    return plain


def parts(model: RewardModel) -> tuple[list[Part], float]:
    """Return the score as a sum over parts of weights times pooled states, and the constant that is added to it.

    Centre, scale, zero and unit are folded in; parts without any weight are left out. Raises ValueError for states that
    Hugging Face's models do not give out.
    """
    if model.layer == block_count(model.lm):
        raise ValueError(
            "This reward model reads the last block's states before their norm, which models in Hugging Face's format "
            "do not give out. Train one with this version, then export that one."
        )
    weights = (model.weights.double() / model.scale.double() / model.std).cpu()
    constant = -float(model.centre.double().cpu() @ weights) - model.mean / model.std
    where = [(0, "sum") if kind == WORDS else (model.layer, kind) for kind in POOLS[model.pooling]]
    where += [(LAST, "mean")] if model.adapter else []
    shares = [Part(*at, own.float()) for at, own in zip(where, weights.chunk(len(where)), strict=True)]
    return [one for one in shares if one.weights.any()] or shares[:1], constant


def merge(model: RewardModel) -> None:
    """Add the reward model's adapter to the weights of its language model, in float32."""
    model.lm.model.float()
    if model.adapter is not None:
        merged.add(model.lm, model.lm.adapters[model.adapter])


def padding(lm: LanguageModel) -> int:
    """Return a special token that never ends a response: transformers looks for the last token that is not padding.

    Raises ValueError with a sentence where there is none.
    """
    special = sorted(id for id, token in lm.tokenizer.added_tokens_decoder.items() if token.special)
    for token in (lm.tokenizer.pad_token_id, *special):
        if token is not None and token not in lm.eos:
            return int(token)
    raise ValueError(f"The tokenizer of {lm.name} has no special token but its end of turn. Add one for padding.")


def _classifier(network: Any, weights: Tensor) -> Any:
    """Return transformers' classifier of one label on the very weights of the network."""
    network.config.num_labels = 1
    with torch.device("meta"):
        classifier = AutoModelForSequenceClassification.from_config(network.config)  # type: ignore[no-untyped-call]
    classifier.base_model.load_state_dict(network.base_model.state_dict(), assign=True)
    classifier.score.weight = nn.Parameter(weights[None])
    return classifier
