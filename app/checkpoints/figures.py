"""What the figures of a training run and its checkpoint are called in words."""

from typing import Any

from app.templating import _

NAMES = {
    # Of a reward model: on answers whose prompt the model never saw.
    "accuracy": _("Right on unseen prompts"),
    "accuracy_low": _("… at least (95 %)"),
    "accuracy_high": _("… at most (95 %)"),
    "n_heldout": _("Answers it was tested on"),
    "test_accuracy": _("Right on prompts never trained on"),
    "test_low": _("… at least (95 %)"),
    "test_high": _("… at most (95 %)"),
    "test_answers": _("Answers to those prompts"),
    "accuracy_strength_1": _("Right where slightly better"),
    "accuracy_strength_2": _("Right where better"),
    "accuracy_strength_3": _("Right where much better"),
    "n_strength_1": _("Answers: slightly better"),
    "n_strength_2": _("Answers: better"),
    "n_strength_3": _("Answers: much better"),
    "length_baseline": _("Right by length alone"),
    "length_correlation": _("Correlation of score and length"),
    "nll": _("Loss on unseen prompts"),
    "nll_head": _("… of the head alone"),
    "nll_adapters": _("… with adapters"),
    "brier": _("Brier score"),
    "ece": _("Calibration error"),
    "mean": _("Mean score of the base model"),
    "std": _("Spread of its scores"),
    "pairs": _("Pairs learnt from"),
    "responses": _("Responses read"),
    "reference_samples": _("Answers of the base model"),
    "ridge": _("Ridge chosen by the folds"),
    "adapter_steps": _("Steps of the adapters"),
    "tie_rate": _("Share of ties"),
    # Of a policy.
    "reward_start": _("Held-out reward at the start"),
    "reward_best": _("Held-out reward at the best point"),
    "gain": _("Gain in held-out reward"),
    "gain_low": _("… at least (95 %)"),
    "gain_high": _("… at most (95 %)"),
    "best_update": _("Best update"),
    "updates": _("Updates"),
    "episodes": _("Answers drawn"),
    "kl": _("KL to the base model, nats"),
    "length": _("Length, tokens"),
    "length_start": _("Length at the start, tokens"),
    "eos_rate": _("Came to their end"),
    "eos_rate_start": _("Came to their end at the start"),
    "distinct": _("Different word pairs"),
    "distinct_start": _("Different word pairs at the start"),
    # Of an evaluation: the candidate, the policy in use (opponent) and the base model.
    "win_rate": _("Duels won"),
    "win_low": _("… at least (95 %)"),
    "win_high": _("… at most (95 %)"),
    "win_length_controlled": _("Duels won at equal length"),
    "win_base_rate": _("Duels won against the base model"),
    "win_base_low": _("… at least (95 %)"),
    "win_base_high": _("… at most (95 %)"),
    "opponent": _("Opponent"),
    "prompts": _("Held-out prompts"),
    "reward": _("Reward"),
    "reward_base": _("Reward of the base model"),
    "reward_opponent": _("Reward of the opponent"),
    "length_base": _("Length of the base model, tokens"),
    "length_opponent": _("Length of the opponent, tokens"),
    "repetition": _("Repetition"),
    "repetition_base": _("Repetition of the base model"),
    "repetition_opponent": _("Repetition of the opponent"),
    "eos_rate_base": _("Came to their end: base model"),
    "eos_rate_opponent": _("Came to their end: opponent"),
    "distinct_base": _("Different word pairs: base model"),
    "distinct_opponent": _("Different word pairs: opponent"),
}
_ORDER = {name: number for number, name in enumerate(NAMES)}


def named(metrics: dict[str, Any]) -> list[tuple[str, Any]]:
    """The figures with their names in words, most telling first; those without one by name at the end."""
    known = sorted(metrics, key=lambda name: (_ORDER.get(name, len(_ORDER)), name))
    return [(NAMES.get(name, name.replace("_", " ")), metrics[name]) for name in known]
