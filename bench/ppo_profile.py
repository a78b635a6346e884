"""Where the time of a PPO update goes: `python -m bench.ppo_profile --tokens 32 128 512`.

For each length of answers a line per part: its seconds for 16 answers, and the share of this processor's rate of matrix
products that its own products would need. What is missing to 1 is memory, norms, attention and Python.
"""

import argparse
import time

import torch
from torch.nn import functional

from bench.ppo_speed import BATCH, EPOCHS, MODEL, THREADS, updates
from bench.sampling import read_prompts
from workers.language.adapters import blocks
from workers.language.layers import block_count, upper_blocks
from workers.language.model import LanguageModel, load


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--tokens", type=int, nargs="+", default=[32, 128, 512])
    given = parser.parse_args()
    torch.set_num_threads(THREADS)
    lm = load(MODEL)
    rate = matmul_rate(lm.dtype)
    print(f"{lm.dtype}, {THREADS} threads, {rate / 1e9:.0f} GFLOP/s\n\n| tokens | part | seconds | of the rate |")
    print("|---|---|---|---|")
    for tokens in given.tokens:
        seconds = updates(given.layers, tokens, 2)[1]
        work = products(lm, given.layers, tokens)
        for part, flops in work.items():
            print(f"| {tokens} | {part} | {seconds[part]:.2f} | {flops / seconds[part] / rate:.2f} |")
        print(f"| {tokens} | an episode | {sum(seconds.values()) / BATCH:.3f} | |", flush=True)


def matmul_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second in the best of several products of the model's shape."""
    x, weight = torch.ones(1024, 576, dtype=dtype), torch.ones(1536, 576, dtype=dtype)
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        functional.linear(x, weight)
        times.append(time.perf_counter() - begun)
    return 2 * 1024 * 576 * 1536 / min(times)


def products(lm: LanguageModel, layers: int, tokens: int) -> dict[str, float]:
    """Operations in the matrix products of the second update's parts, attention and adapters left out."""
    prompts = read_prompts(lm, 2 * BATCH)[BATCH:]
    answered = float(BATCH * tokens)
    whole = sum(map(len, prompts)) + answered
    through = 2.0 * sum(one.numel() for one in blocks(lm).parameters())
    upper = through * (1 - upper_blocks(lm, layers) / block_count(lm))
    head = 2.0 * lm.model.get_output_embeddings().weight.numel()
    return {
        "draw": whole * through + answered * head,
        "look": whole * (through + upper + (0 if layers else through)) + 2 * answered * head,
        "learn": EPOCHS * 2 * (whole * upper + answered * head),
    }


if __name__ == "__main__":
    main()
