"""What can be set in a training run: one frozen dataclass per kind, with a default, a range and a sentence per field.

Standard library only, because the web makes its forms from these classes and the workers train with them. Where the
numbers come from is written in docs/experiments.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from app.runs.typed_settings import Hyper


def _number(default: float, description: str, low: float, high: float) -> Any:
    """A field with its description and its closed range, for `validate` and for forms."""
    return field(default=default, metadata={"description": description, "low": low, "high": high})


def _choice(default: str, description: str, choices: tuple[str, ...]) -> Any:
    return field(default=default, metadata={"description": description, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class RewardHyper(Hyper):
    """Settings of a `reward` run: the head on pooled states first, adapters from there."""

    depth: float = _number(0.5, "How deep in the model the pooled states are read: 1 is after its last norm.", 0.1, 1.0)
    pooling: str = _choice(
        "words",
        "How the states of an answer's tokens become one vector: their mean, their sum, the last one, all three, or "
        "all three and the sum of the tokens as they are before the first block (words).",
        ("words", "all", "mean", "sum", "last"),
    )
    folds: int = _number(5, "Into how many groups of prompts the answers are split for cross-validation.", 2, 20)
    label_smoothing: float = _number(0.05, "How likely an answer is taken to be a slip for its opposite.", 0.0, 0.4)
    reliability: str = _choice(
        "off",
        "Whether people count less the more often they disagree with what all others said about the same pairs.",
        ("off", "on"),
    )
    lora_from_labels: int = _number(
        1000, "From how many decisive answers on adapters are trained; below that the head alone.", 0, 1_000_000
    )
    lora_rank: int = _number(16, "Rank of the adapters.", 1, 256)
    lora_alpha: int = _number(32, "Scale of the adapters, as a multiple of 1 / rank.", 1, 1024)
    lora_learning_rate: float = _number(3e-4, "Step size for the adapters; too high destroys the ranking.", 1e-6, 1e-2)
    lora_epochs: int = _number(
        2, "How often the adapters see every answer at most; they stop earlier by themselves.", 1, 20
    )
    train_layers: int = _number(8, "How many of the last layers get adapters; 0 means every layer.", 0, 1000)
    batch_answers: int = _number(16, "How many compared pairs go into one step.", 1, 1024)
    centring: float = _number(0.01, "How strongly the scores are pulled towards zero while adapters train.", 0.0, 1.0)
    max_tokens: int = _number(1024, "Prompt and answer together are cut to this many tokens.", 32, 131_072)
    reference_samples: int = _number(
        256, "How many answers of the base model set the zero and the unit of the reward.", 8, 65_536
    )
    reference_tokens: int = _number(64, "How long those answers may get, in tokens.", 1, 8192)
    save_every: int = _number(
        10, "After how many steps the state is saved, so that a killed run goes on there.", 1, 10_000
    )

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "standard": {},
        "quick": {"lora_from_labels": 1_000_000, "reference_samples": 128},
        "thorough": {"lora_epochs": 3, "train_layers": 0, "reference_samples": 512},
        "gpu": {"train_layers": 0, "batch_answers": 64, "reference_samples": 1024, "reference_tokens": 256},
    }
    tiny: ClassVar[dict[str, Any]] = {
        "lora_from_labels": 30,
        "lora_rank": 4,
        "lora_alpha": 8,
        "lora_epochs": 1,
        "train_layers": 1,
        "reference_samples": 32,
        "reference_tokens": 16,
        "save_every": 2,
    }


@dataclass(frozen=True, kw_only=True)
class PpoHyper(Hyper):
    """Settings of a `ppo` run. Rollouts are always drawn at temperature 1 from the full distribution."""

    updates: int = _number(20, "How many times answers are drawn and learned from.", 1, 100_000)
    batch: int = _number(192, "How many answers are drawn for one update.", 2, 65_536)
    answers_per_prompt: int = _number(2, "How many of them answer the same prompt.", 1, 64)
    max_new_tokens: int = _number(64, "How long an answer may get, in tokens.", 1, 8192)
    minibatches: int = _number(4, "Into how many optimiser steps one update is split.", 1, 1024)
    epochs: int = _number(1, "How often each drawn answer is learned from.", 1, 16)
    learning_rate: float = _number(
        5e-4, "Step size of the adapters at most; less is taken where the policy moves too fast.", 1e-7, 1e-2
    )
    warmup_steps: int = _number(10, "Over how many steps the step size rises to its full value.", 0, 10_000)
    rank: int = _number(16, "Rank of the adapters.", 1, 256)
    alpha: int = _number(32, "Scale of the adapters, as a multiple of 1 / rank.", 1, 1024)
    train_layers: int = _number(8, "How many of the last layers get adapters; 0 means every layer.", 0, 1000)
    kl_target: float = _number(
        5.0, "How far, in nats per answer, the policy is steered to move from the base model.", 0.01, 100.0
    )
    kl_budget: float = _number(6.0, "How far it may move at most: no point beyond this is kept.", 0.01, 100.0)
    kl_hold: str = _choice(
        "leash",
        "How it is kept near that target: by making its adapters weaker wherever it is beyond it (leash), or by a "
        "price of KL that rises and falls (price).",
        ("leash", "price"),
    )
    kl_coefficient: float = _number(
        0.05, "Price of one nat, in standard deviations of reward; with the hold price, at the start.", 0.0, 10.0
    )
    advantage: str = _choice(
        "gae",
        "What an answer is measured against: the value that was expected at each of its tokens (gae), or the mean of "
        "the other answers to its prompt (rloo).",
        ("gae", "rloo"),
    )
    gae_lambda: float = _number(0.7, "With gae: how far the reward at the end reaches back over the tokens.", 0.0, 1.0)
    clip: float = _number(
        0.2, "How far a token's probability may move in one update before it stops counting.", 0.01, 1.0
    )
    score_clip: float = _number(5.0, "Rewards beyond this many standard deviations count as this many.", 0.5, 100.0)
    missing_eos_penalty: float = _number(
        1.0,
        "Taken off the reward of an answer that did not come to its end; where ends are usual, what such answers score "
        "more than others on average is taken off as well.",
        0.0,
        10.0,
    )
    evaluate_every: int = _number(2, "After how many updates the held-out prompts are answered.", 1, 1000)
    heldout_answers: int = _number(48, "How many answers on held-out prompts each of these looks uses.", 4, 4096)
    patience: int = _number(
        3,
        "After how many of these looks in a row without a higher held-out reward the run ends, because from there on "
        "it mostly learns the reward model's mistakes; 0 means never.",
        0,
        1000,
    )
    save_every: int = _number(
        2, "After how many updates the state is saved, so that a killed run goes on there.", 1, 1000
    )

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "standard": {},
        "quick": {"updates": 8, "batch": 32},
        "thorough": {"updates": 28, "batch": 256, "heldout_answers": 96},
        "gpu": {"updates": 28, "batch": 256, "max_new_tokens": 256, "train_layers": 0, "heldout_answers": 192},
    }
    tiny: ClassVar[dict[str, Any]] = {
        "updates": 6,
        "batch": 32,
        "max_new_tokens": 16,
        "minibatches": 4,
        "learning_rate": 2e-3,
        "warmup_steps": 4,
        "rank": 4,
        "alpha": 8,
        "train_layers": 0,
        "missing_eos_penalty": 0.5,
        "heldout_answers": 48,
        "save_every": 1,
    }

    def validate(self) -> None:
        """Raise ValueError with a sentence that says which setting does not fit."""
        super().validate()
        if self.batch % self.answers_per_prompt:
            raise ValueError(
                f"batch ({self.batch}) must be a multiple of answers_per_prompt ({self.answers_per_prompt})."
            )
        if self.advantage == "rloo" and self.answers_per_prompt < 2:
            raise ValueError(
                "advantage rloo compares the answers to one prompt: set answers_per_prompt to 2 or more, or choose gae."
            )
        if self.minibatches > self.batch:
            raise ValueError(f"minibatches ({self.minibatches}) must not exceed batch ({self.batch}).")
        if self.kl_target > self.kl_budget:
            raise ValueError(f"kl_target ({self.kl_target:g}) must not exceed kl_budget ({self.kl_budget:g}).")


@dataclass(frozen=True, kw_only=True)
class DpoHyper(Hyper):
    """Settings of a `dpo` run: the choices teach the policy directly, without a reward model."""

    beta: float = _number(
        0.1, "How closely the policy is held to the base model: the smaller, the farther it may move.", 0.001, 10.0
    )
    label_smoothing: float = _number(0.05, "How likely an answer is taken to be a slip for its opposite.", 0.0, 0.4)
    strength_margin: float = _number(
        0.0,
        "By how many nats more the preferred response must lead for each step of strength above “slightly better”; "
        "0 treats all choices alike.",
        0.0,
        10.0,
    )
    epochs: int = _number(3, "How often every answer is seen at most; the run stops earlier by itself.", 1, 100)
    batch_answers: int = _number(16, "How many compared pairs go into one step.", 1, 1024)
    learning_rate: float = _number(5e-4, "Step size of the adapters.", 1e-7, 1e-2)
    rank: int = _number(16, "Rank of the adapters.", 1, 256)
    alpha: int = _number(32, "Scale of the adapters, as a multiple of 1 / rank.", 1, 1024)
    train_layers: int = _number(8, "How many of the last layers get adapters; 0 means every layer.", 0, 1000)
    max_tokens: int = _number(1024, "Prompt and answer together are cut to this many tokens.", 32, 131_072)
    kl_budget: float = _number(
        6.0, "How far, in nats per answer, the policy may move from the base model at most.", 0.01, 100.0
    )
    evaluate_every: int = _number(
        8, "After how many steps it looks at the held-out choices and answers the held-out prompts.", 1, 10_000
    )
    heldout_answers: int = _number(48, "How many answers on held-out prompts each of these looks uses.", 4, 4096)
    max_new_tokens: int = _number(64, "How long these answers may get, in tokens.", 1, 8192)
    patience: int = _number(
        2,
        "After how many of these looks in a row without a lower held-out loss the run ends, because from there on it "
        "learns the choices by heart; 0 means never.",
        0,
        1000,
    )
    save_every: int = _number(
        8, "After how many steps the state is saved, so that a killed run goes on there.", 1, 10_000
    )

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "standard": {},
        "quick": {"epochs": 1},
        "thorough": {"epochs": 5, "train_layers": 0, "heldout_answers": 96},
        "gpu": {"batch_answers": 64, "max_new_tokens": 256, "train_layers": 0, "heldout_answers": 192},
    }
    tiny: ClassVar[dict[str, Any]] = {
        "batch_answers": 8,
        "learning_rate": 2e-3,
        "rank": 4,
        "alpha": 8,
        "train_layers": 1,
        "max_new_tokens": 16,
        "evaluate_every": 4,
        "save_every": 1,
    }


@dataclass(frozen=True, kw_only=True)
class EvaluateHyper(Hyper):
    """Settings of an `evaluate` run: candidate against promoted policy, sampled as people see answers."""

    prompts: int = _number(48, "How many held-out prompts are answered at most.", 2, 100_000)
    answers_per_prompt: int = _number(4, "How many answers each policy gives to each prompt.", 1, 64)
    max_new_tokens: int = _number(64, "How long an answer may get, in tokens.", 1, 8192)
    temperature: float = _number(0.9, "Temperature of the answers.", 0.01, 5.0)
    top_p: float = _number(0.95, "Nucleus of the answers: the smallest set of tokens with this probability.", 0.01, 1.0)
    kl_budget: float = _number(
        6.0, "How far, in nats per answer, the candidate may be from the base model.", 0.01, 100.0
    )

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "standard": {},
        "quick": {"prompts": 24},
        "thorough": {"prompts": 200},
        "gpu": {"prompts": 200, "max_new_tokens": 256},
    }
    tiny: ClassVar[dict[str, Any]] = {"prompts": 16, "max_new_tokens": 16}


HYPER: dict[str, type[Hyper]] = {
    "reward": RewardHyper,
    "ppo": PpoHyper,
    "dpo": DpoHyper,
    "evaluate": EvaluateHyper,
}
"""The settings of each kind of training run."""
