"""The reward model: the language model with a number instead of text.

A score is linear in pooled states of the response: mean, sum and last state at one layer of the trunk, the sum of its
tokens as the trunk takes them in and, once adapters have been trained, the mean of the last states too. Without
adapters it is the instant head on frozen states.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from workers import artifacts
from workers.language import adapters
from workers.language.layers import LAST, block_count, states_above, states_at
from workers.language.logprobs import Row
from workers.language.model import LanguageModel
from workers.world import ALONE, World

HEAD, STATS, CARD = "head.safetensors", "reward_stats.json", "card.json"
BATCH = 16
WORDS = "words"
POOLS = {
    WORDS: ("mean", "sum", "last", WORDS),
    "all": ("mean", "sum", "last"),
    "mean": ("mean",),
    "sum": ("sum",),
    "last": ("last",),
}
"""By the setting's name what is read at the head's layer; WORDS comes last and is read below the first block."""


@dataclass(frozen=True, eq=False)
class RewardModel:
    """A head on a language model's states; F features, D of them (the last) from the adapted trunk's last layer."""

    lm: LanguageModel
    layer: int
    """After how many blocks the states are pooled; LAST: after the final norm."""
    pooling: str
    centre: Tensor
    """[F]: what is taken off each feature; float32."""
    scale: Tensor
    """[F]: what each feature is divided by."""
    weights: Tensor
    """[F]"""
    adapter: str | None = None
    """Name of the attached adapter, None for the head on frozen states alone."""
    lower: int = 0
    """The first block the adapter touches."""
    mean: float = 0.0
    std: float = 1.0
    """Score of the base model's average answer, and the standard deviation of its answers' scores."""

    def base_layers(self) -> list[int]:
        """Return the layers whose base-model states `scores` can use instead of computing them."""
        if self.adapter is None:
            return [self.layer]
        return sorted({self.layer, self.lower}) if self._shares_base() else []

    def scores(self, rows: Sequence[Row], base: Mapping[int, Tensor] | None = None) -> Tensor:
        """Return the raw score [B] of each row's response, float32, differentiable in weights and adapter.

        `base` may hold the base model's states [B, S, D] by layer, at least those of `base_layers`.
        """
        return self._score(self.features(rows, base))

    def course(self, rows: Sequence[Row], base: Mapping[int, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Return the raw scores [B] and what the responses had earned before each of their tokens, [B, R, 2].

        A score is linear in sums and means over tokens, so every token adds to it by itself: the first number is what
        the tokens so far add through sums, the second what they add through means, times the response's length.
        """
        pooled = self._parts(rows, base)
        scores = self._score(torch.cat([pool(states, rows, kinds) for states, kinds in pooled], dim=1))
        slopes = iter(torch.split(self.weights / self.scale, self.lm.model.config.hidden_size))
        earned = scores.new_zeros(len(rows), max(len(response) for _, response in rows), 2)
        for states, kinds in pooled:
            for kind in kinds:
                slope = next(slopes)
                if kind == "last":
                    continue
                for row, (prompt, response) in enumerate(rows):
                    own = states[row, len(prompt) : len(prompt) + len(response) - 1].float() @ slope
                    earned[row, 1 : len(response), int(kind == "mean")] += own.cumsum(0)
        return scores, earned

    def _score(self, features: Tensor) -> Tensor:
        return ((features - self.centre) / self.scale) @ self.weights

    def normalised(self, scores: Tensor) -> Tensor:
        """Return scores in the unit of the reward: 0 is the base model's average answer, 1 its standard deviation."""
        return (scores - self.mean) / self.std

    def features(self, rows: Sequence[Row], base: Mapping[int, Tensor] | None = None) -> Tensor:
        """Return the pooled states [B, F] of each row's response, float32."""
        return torch.cat([pool(states, rows, kinds) for states, kinds in self._parts(rows, base)], dim=1)

    def _parts(self, rows: Sequence[Row], base: Mapping[int, Tensor] | None) -> list[tuple[Tensor, Sequence[str]]]:
        """Return the states [B, S, D] that the features are made of, each with how it is pooled."""
        kinds = POOLS[self.pooling]
        if self.adapter is None:
            states = base if base is not None else states_at(self.lm, rows, [self.layer])
            return parts(self.lm, states[self.layer], rows, kinds)
        if self._shares_base():
            if base is None:
                with adapters.using(self.lm, None), torch.no_grad():
                    base = states_at(self.lm, rows, self.base_layers())
            with adapters.using(self.lm, self.adapter):
                last = states_above(self.lm, rows, base[self.lower], self.lower)
            return [*parts(self.lm, base[self.layer], rows, kinds), (last, ("mean",))]
        with adapters.using(self.lm, self.adapter):
            states = states_at(self.lm, rows, [self.layer, LAST])
        return [*parts(self.lm, states[self.layer], rows, kinds), (states[LAST], ("mean",))]

    def _shares_base(self) -> bool:
        # Adapters that start above the pooled layer leave it, and all below them, as the base model has them.
        return self.layer != LAST and self.lower >= self.layer


def pooled_layer(lm: LanguageModel, depth: float) -> int:
    """Return after how many blocks states are pooled for a depth between 0 and 1: at least one, at 1 the last norm."""
    return LAST if depth >= 1 else max(1, int(depth * block_count(lm)))


def pool(states: Tensor, rows: Sequence[Row], kinds: Sequence[str]) -> Tensor:
    """Return [B, len(kinds) * D] in float32: the mean, the sum or the last of each response's own states [B, S, D].

    Where a response lies comes from `rows` alone; a row's padding never enters.
    """
    parts = {kind: [] for kind in kinds}  # type: dict[str, list[Tensor]]
    for index, (prompt, response) in enumerate(rows):
        own = states[index, len(prompt) : len(prompt) + len(response)].float()
        total = own.sum(0)
        for kind in kinds:
            parts[kind].append({"mean": total / len(response), "sum": total, "last": own[-1]}[kind])
    return torch.cat([torch.stack(parts[kind]) for kind in kinds], dim=1)


def pool_all(lm: LanguageModel, states: Tensor, rows: Sequence[Row], kinds: Sequence[str]) -> Tensor:
    """Return [B, len(kinds) * D] in float32: `pool` of each of the `parts`."""
    return torch.cat([pool(one, rows, some) for one, some in parts(lm, states, rows, kinds)], dim=1)


def parts(
    lm: LanguageModel, states: Tensor, rows: Sequence[Row], kinds: Sequence[str]
) -> list[tuple[Tensor, Sequence[str]]]:
    """Return the states with how they are pooled, and for WORDS, the last kind, the tokens, which are summed.

    A token counts there as the first block takes it in, so this says which words a response has and no more. They are
    what a few hundred answers about style and wording teach best; see docs/experiments/reward.md.
    """
    if WORDS not in kinds:
        return [(states, kinds)]
    return [(states, kinds[:-1]), (states_at(lm, rows, [0])[0], ("sum",))]


def batches(rows: Sequence[Row], size: int) -> list[list[int]]:
    """Return the rows' indices in batches of similar length, so that little is padded."""
    order = sorted(range(len(rows)), key=lambda index: (len(rows[index][0]) + len(rows[index][1]), index))
    return [order[start : start + size] for start in range(0, len(order), size)]


def score_all(
    model: RewardModel,
    rows: Sequence[Row],
    base: Callable[[Sequence[int]], Mapping[int, Tensor] | None] | None = None,
    chosen: Sequence[int] | None = None,
    world: World = ALONE,
) -> Tensor:
    """Return the raw scores [N] of all rows, or of the `chosen` ones in their order, on the CPU, without gradients.

    `base` gives the base model's states of some rows where they were kept; the processes of `world` share the work.
    """
    chosen = range(len(rows)) if chosen is None else chosen
    found = torch.zeros(len(chosen))
    with torch.no_grad():
        for batch in world.deal(batches([rows[index] for index in chosen], BATCH)):
            some = [chosen[place] for place in batch]
            found[batch] = model.scores([rows[index] for index in some], base(some) if base else None).cpu()
    world.add([found])
    return found


def write(model: RewardModel, url: str, stats: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    """Write the checkpoint directory and return its SHA-256; adapter files only if there is an adapter."""
    shape = {"layer": model.layer, "pooling": model.pooling, "lower": model.lower, "adapter": model.adapter is not None}
    tensors = {"centre": model.centre, "scale": model.scale, "weights": model.weights}
    files = {
        HEAD: save_safetensors({name: one.detach().cpu().contiguous() for name, one in tensors.items()}),
        STATS: _json({"mean": model.mean, "std": model.std, **stats}),
        CARD: _json({**card, "head": shape}),
    }
    if model.adapter is not None:
        files |= adapters.files(model.lm, model.adapter)
    return artifacts.write(url, "reward", model.lm.name, files)


def load_reward(lm: LanguageModel, url: str, sha256: str, name: str = "reward") -> RewardModel:
    """Attach the reward checkpoint at `url` to a base model under `name`.

    Raises ArtifactDamaged if its bytes are not the recorded ones, ValueError if it is no reward model of this base.
    """
    manifest = artifacts.read_manifest(url, sha256)
    if manifest["kind"] != "reward":
        raise ValueError(f"{url} holds a {manifest['kind']} checkpoint, not a reward model. Choose a reward model.")
    if manifest["base_model"] != lm.name:
        raise ValueError(
            f"The reward model was trained on {manifest['base_model']}, not on {lm.name}. Train one on {lm.name}."
        )
    files = artifacts.read(url, sha256)
    shape, stats = json.loads(files[CARD])["head"], _statistics(files, url)
    head = {key: one.to(lm.device) for key, one in load_safetensors(files[HEAD]).items()}
    if shape["adapter"]:
        adapters.attach(lm, name, files)
    return RewardModel(
        lm,
        shape["layer"],
        shape["pooling"],
        **head,
        adapter=name if shape["adapter"] else None,
        lower=shape["lower"],
        mean=stats["mean"],
        std=stats["std"],
    )


def _statistics(files: Mapping[str, bytes], url: str) -> dict[str, Any]:
    """Return the scores' zero and unit, without which a reward means nothing to PPO."""
    stats: dict[str, Any] = json.loads(files.get(STATS, b"{}"))
    if not isinstance(stats.get("mean"), float) or not stats.get("std", 0) > 0:
        raise ValueError(
            f"The reward model at {url} does not say how the base model's own answers score, so its scores have no "
            "zero and no unit. Train it again."
        )
    return stats


def with_adapter(model: RewardModel, name: str, lower: int, centre: Tensor, scale: Tensor) -> RewardModel:
    """Return the model with room for the adapted trunk's last states, weighted 0: at first the scores are the same.

    `centre` and `scale` [D] standardise the mean of the last states.
    """
    return replace(
        model,
        adapter=name,
        lower=lower,
        centre=torch.cat([model.centre, centre]),
        scale=torch.cat([model.scale, scale]),
        weights=torch.cat([model.weights, torch.zeros_like(centre)]),
    )


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()
