"""The base model's answers and what it makes of them: sampled once, the same for every rule, every noise and seed."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.simulation.prompts import all_prompts
from workers.language.decode import generate
from workers.language.layers import states_at
from workers.language.model import load
from workers.language.sampling import Settings
from workers.language.tokens import decode, encode_prompt
from workers.reward.model import POOLS, WORDS, batches, pool, pooled_layer

MODEL = "smollm2-135m-instruct"
PAIRS = {"train": 10, "selection": 2, "test": 2}
"""How many pairs each prompt of a part gets."""
SEEN = Settings(temperature=0.9, top_p=0.95, max_tokens=64)
DEPTHS = (0.5, 0.75, 1.0)
AT_ONCE = 32


def sample(home: Path) -> None:
    """Sample every pair and pool the states of every answer; goes on where it was ended."""
    home.mkdir(parents=True, exist_ok=True)
    lm = load(MODEL)
    wanted = [asked for asked in all_prompts() for _ in range(PAIRS[asked.part])]
    file = home / "pairs.jsonl"
    begun = len(file.read_text().splitlines()) if file.exists() else 0
    begun -= begun % AT_ONCE
    _cut(file, begun)
    started = time.monotonic()
    with file.open("a") as lines:
        for start in range(begun, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            asked = [encode_prompt(lm, [{"role": "user", "content": one.text}]) for one in some]
            for one, (a, b) in zip(some, generate(lm, asked, 2, SEEN, seed=1_000 + 2 * start), strict=True):
                sides = {"a": a, "b": b}
                pair = {"part": one.part, "prompt": one.text, "prompt_token_ids": a.prompt_ids}
                pair |= {f"tokens_{side}": drawn.token_ids for side, drawn in sides.items()}
                pair |= {f"response_{side}": decode(lm, drawn.token_ids) for side, drawn in sides.items()}
                lines.write(json.dumps(pair) + "\n")
            lines.flush()
            print(f"{start + len(some)} of {len(wanted)} pairs, {time.monotonic() - started:.0f} s", file=sys.stderr)
    _pool(lm, home)


def read_pairs(home: Path) -> list[dict[str, Any]]:
    """Return the sampled pairs."""
    return [json.loads(line) for line in (home / "pairs.jsonl").read_text().splitlines()]


def read_features(home: Path, depth: float) -> np.ndarray:
    """Return mean, sum and last state of both answers of every pair at a depth, and their words, [P, 2, 4 D]."""
    stored = [np.load(home / f"{name}.npy") for name in (f"features-{depth}", WORDS)]
    return np.asarray(np.concatenate(stored, axis=2).astype(np.float32))


def _pool(lm: Any, home: Path) -> None:
    pairs = read_pairs(home)
    rows = [(pair["prompt_token_ids"], pair[f"tokens_{side}"]) for pair in pairs for side in "ab"]
    layers = {depth: pooled_layer(lm, depth) for depth in DEPTHS}
    found: dict[float | str, list[Any]] = {name: [None] * len(rows) for name in (*DEPTHS, WORDS)}
    started = time.monotonic()
    with torch.no_grad():
        for batch in batches(rows, AT_ONCE):
            some = [rows[index] for index in batch]
            states = states_at(lm, some, sorted({0, *layers.values()}))
            read: dict[float | str, Any] = {WORDS: pool(states[0], some, ("sum",))}
            read |= {depth: pool(states[layer], some, POOLS["all"]) for depth, layer in layers.items()}
            for name, pooled in read.items():
                for index, features in zip(batch, pooled, strict=True):
                    # Half precision is what the database keeps; sums of 64 states stay within its range.
                    found[name][index] = features.half().numpy()
    for name, features in found.items():
        file = name if name == WORDS else f"features-{name}"
        np.save(home / f"{file}.npy", np.stack(features).reshape(len(pairs), 2, -1))
    print(f"pooled {len(rows)} answers in {time.monotonic() - started:.0f} s", file=sys.stderr)


def _cut(file: Path, lines: int) -> None:
    if file.exists():
        kept = file.read_text().splitlines(keepends=True)[:lines]
        file.write_text("".join(kept))
