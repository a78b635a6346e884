"""What the figures of a training run and its checkpoint are called in words."""

from typing import Any

from app.languages import N_, _

NAMES = {
    # Of a reward model: on answers whose prompt the model never saw.
    "accuracy": N_("Right on unseen prompts"),
    "accuracy_low": N_("… at least (95 %)"),
    "accuracy_high": N_("… at most (95 %)"),
    "n_heldout": N_("Answers it was tested on"),
    "test_accuracy": N_("Right on prompts never trained on"),
    "test_low": N_("… at least (95 %)"),
    "test_high": N_("… at most (95 %)"),
    "test_answers": N_("Answers to those prompts"),
    "accuracy_strength_1": N_("Right where slightly better"),
    "accuracy_strength_2": N_("Right where better"),
    "accuracy_strength_3": N_("Right where much better"),
    "n_strength_1": N_("Answers: slightly better"),
    "n_strength_2": N_("Answers: better"),
    "n_strength_3": N_("Answers: much better"),
    "accuracy_gap_small": N_("Right where the lengths are close"),
    "accuracy_gap_middle": N_("Right where they are apart"),
    "accuracy_gap_large": N_("Right where they are far apart"),
    "n_gap_small": N_("Answers: lengths close"),
    "n_gap_middle": N_("Answers: lengths apart"),
    "n_gap_large": N_("Answers: lengths far apart"),
    "length_baseline": N_("Right by length alone"),
    "length_correlation": N_("Correlation of score and length"),
    "ceiling": N_("Right at best, as people agree"),
    "agreement": N_("Two answers to one pair agree"),
    "agreement_twos": N_("… such twos"),
    "self_agreement": N_("People agree with themselves"),
    "self_agreement_twos": N_("… such twos"),
    "repeat_agreement": N_("Agree where a surprise was asked again"),
    "repeat_agreement_twos": N_("… such twos"),
    "nll": N_("Loss on unseen prompts"),
    "nll_head": N_("… of the head alone"),
    "nll_adapters": N_("… with adapters"),
    "brier": N_("Brier score"),
    "ece": N_("Calibration error"),
    "temperature": N_("Temperature that calibrates it"),
    "ece_tempered": N_("Calibration error at that temperature"),
    "mean": N_("Raw score of the base model's average answer (the zero)"),
    "std": N_("Spread of its raw scores (the unit)"),
    "pairs": N_("Pairs learnt from"),
    "responses": N_("Responses read"),
    "reference_samples": N_("Answers of the base model"),
    "ridge": N_("Ridge chosen by the folds"),
    "adapter_steps": N_("Steps of the adapters"),
    "tie_rate": N_("Share of ties"),
    # Of a policy.
    "reward_start": N_("Held-out reward at the start"),
    "reward_best": N_("Held-out reward at the best point"),
    "gain": N_("Gain in held-out reward"),
    "gain_low": N_("… at least (95 %)"),
    "gain_high": N_("… at most (95 %)"),
    "best_update": N_("Best update"),
    "updates": N_("Updates"),
    "episodes": N_("Answers drawn"),
    "margin": N_("Lead of the preferred answer, nats"),
    "best_step": N_("Best step"),
    "steps": N_("Steps"),
    "kl": N_("KL to the base model, nats"),
    "length": N_("Length, tokens"),
    "length_start": N_("Length at the start, tokens"),
    "eos_rate": N_("Came to their end"),
    "eos_rate_start": N_("Came to their end at the start"),
    "distinct": N_("Different word pairs"),
    "distinct_start": N_("Different word pairs at the start"),
    # Of an evaluation: the candidate, the policy in use (opponent) and the base model.
    "win_rate": N_("Duels won"),
    "win_low": N_("… at least (95 %)"),
    "win_high": N_("… at most (95 %)"),
    "win_length_controlled": N_("Duels won at equal length"),
    "win_length_controlled_low": N_("… at least (95 %)"),
    "win_length_controlled_high": N_("… at most (95 %)"),
    "win_base_rate": N_("Duels won against the base model"),
    "win_base_low": N_("… at least (95 %)"),
    "win_base_high": N_("… at most (95 %)"),
    "win_base_length_controlled": N_("… at equal length"),
    "win_base_length_controlled_low": N_("… at least (95 %)"),
    "win_base_length_controlled_high": N_("… at most (95 %)"),
    "people_rate": N_("Preferred by people, blindly"),
    "people_low": N_("… at least (95 %)"),
    "people_high": N_("… at most (95 %)"),
    "people_pairs": N_("Pairs that people compared"),
    "worse": N_("Share of prompts that got worse"),
    "opponent": N_("Opponent"),
    "prompts": N_("Held-out prompts"),
    "reward": N_("Reward"),
    "reward_base": N_("Reward of the base model"),
    "reward_opponent": N_("Reward of the opponent"),
    "length_base": N_("Length of the base model, tokens"),
    "length_opponent": N_("Length of the opponent, tokens"),
    "repetition": N_("Repetition"),
    "repetition_base": N_("Repetition of the base model"),
    "repetition_opponent": N_("Repetition of the opponent"),
    "eos_rate_base": N_("Came to their end: base model"),
    "eos_rate_opponent": N_("Came to their end: opponent"),
    "distinct_base": N_("Different word pairs: base model"),
    "distinct_opponent": N_("Different word pairs: opponent"),
}
_ORDER = {name: number for number, name in enumerate(NAMES)}


def named(metrics: dict[str, Any]) -> list[tuple[str, Any]]:
    """The figures with their names in words, most telling first; those without one by name at the end."""
    return [(_(name), value) for name, value in in_english(metrics)]


def in_english(metrics: dict[str, Any]) -> list[tuple[str, Any]]:
    """The same untranslated, for the files that Pairloop writes."""
    known = sorted(metrics, key=lambda name: (_ORDER.get(name, len(_ORDER)), name))
    return [(NAMES.get(name, name.replace("_", " ")), metrics[name]) for name in known]
