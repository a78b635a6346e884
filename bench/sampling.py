"""Sampled tokens a second beside transformers' `generate`: the same model, prompts, threads and settings, in turns.

Every answer runs to its full length in both, whatever it says, so that both sample the same number of tokens.
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.figures import Figure
from workers.language.decode import generate
from workers.language.model import LanguageModel, load, number_format
from workers.language.sampling import Settings
from workers.language.tokens import encode_prompt

MODEL = "smollm2-135m-instruct"
PROMPTS = Path(__file__).parents[1] / "data" / "prompts.jsonl"
ROWS, TOKENS, TOP_P, ROUNDS = 32, 64, 0.9, 3


def measure() -> list[Figure]:
    """Tokens a second, and how many times the peer's: the median of the rounds' ratios, in each number format."""
    found = []
    for kind in sorted({"bfloat16", number_format(MODEL)}):
        lm = load(MODEL, kind)
        lm, prompts = replace(lm, eos=frozenset()), read_prompts(lm, ROWS)
        _timed(ours_tokens, lm, prompts[:2])
        ours, peers = [], []
        for _ in range(ROUNDS):
            ours.append(_timed(ours_tokens, lm, prompts))
            peers.append(_timed(peers_tokens, lm, prompts))
        ratio = statistics.median(own / peer for own, peer in zip(ours, peers, strict=True))
        found += [
            Figure(f"sampled tokens a second, {ROWS} prompts, {kind}", statistics.median(ours), "/s"),
            Figure(f"… beside transformers' {statistics.median(peers):.0f}", ratio, "x", at_least=2.0),
        ]
    return found


def read_prompts(lm: LanguageModel, count: int) -> list[list[int]]:
    """The ids of so many different prompts."""
    texts = [json.loads(line)["prompt"] for line in PROMPTS.read_text().splitlines()[:count]]
    return [encode_prompt(lm, [{"role": "user", "content": text}]) for text in texts]


def ours_tokens(lm: LanguageModel, prompts: Sequence[list[int]]) -> int:
    """Sample an answer to each prompt as the product does; the number of tokens."""
    drawn = generate(lm, prompts, 1, Settings(1.0, TOP_P, TOKENS), seed=1)
    return sum(len(one.token_ids) for (one,) in drawn)


def peers_tokens(lm: LanguageModel, prompts: Sequence[list[int]]) -> int:
    """The same by transformers, padded on the left."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    own = lm.model.generation_config.eos_token_id
    lm.model.generation_config.eos_token_id = sorted(lm.eos) or None
    try:
        with torch.inference_mode():
            answers = lm.model.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=TOKENS,
                do_sample=True,
                temperature=1.0,
                top_p=TOP_P,
                top_k=0,
                pad_token_id=0,
            )[:, width:]
    finally:
        lm.model.generation_config.eos_token_id = own
    return sum(next((n + 1 for n, token in enumerate(row) if token in lm.eos), len(row)) for row in answers.tolist())


def _timed(
    work: Callable[[LanguageModel, Sequence[list[int]]], int], lm: LanguageModel, prompts: Sequence[list[int]]
) -> float:
    """Tokens a second."""
    start = time.perf_counter()
    return work(lm, prompts) / (time.perf_counter() - start)
