"""What the simulated annotators like: the product's rules, and three that ask for something else."""

import re
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch

from app.simulation.gold import RULES
from workers.language.layers import states_at
from workers.language.model import LanguageModel, load
from workers.language.tokens import encode_response

Floats = np.ndarray
WIDTH = 32


def tidy(text: str) -> float:
    """Comes to its end (worth three), on few lines (each line break costs one, four at most)."""
    return 3.0 * text.rstrip().endswith((".", "!", "?")) - min(text.strip().count("\n"), 4)


def varied(text: str) -> float:
    """Share of different words, in per cent; an answer of fewer than 20 words counts as one of 20 with repetitions."""
    words = re.findall(r"[a-z']+", text.lower())
    return 100.0 * len(set(words)) / max(len(words), 20)


def hidden(text: str) -> float:
    """A random two-layer network on the middle states of another small model, which nobody ever sees."""
    states = _tiny_states(text)
    first, second = _network(len(states))
    return float(np.tanh(states @ first) @ second)


GOLDS: dict[str, Callable[[str], float]] = {
    **{name: rule.score for name, rule in RULES.items()},
    "tidy": tidy,
    "varied": varied,
    "hidden": hidden,
}


def scores(gold: str, texts: Sequence[str]) -> Floats:
    """Return what the rule says of each text, [N]."""
    return np.array([GOLDS[gold](text) for text in texts])


@cache
def _network(width: int) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(20)
    return generator.normal(size=(width, WIDTH)) / np.sqrt(width), generator.normal(size=WIDTH) / np.sqrt(WIDTH)


@cache
def _tiny_states(text: str) -> Floats:
    """Return the mean over the text of tiny's states after its first block, each standardised, [D]."""
    lm = _tiny()
    ids = encode_response(lm, text)[: lm.context - 1]
    with torch.no_grad():
        states = states_at(lm, [([ids[0]], ids)], [1])[1][0, 1 : 1 + len(ids)].float()
    mean = states.mean(0).numpy()
    return np.asarray(10 * (mean - mean.mean()) / (mean.std() + 1e-9))


@cache
def _tiny() -> LanguageModel:
    return load("tiny")
