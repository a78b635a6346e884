"""PPO episodes a second, and memory, beside TRL 1.12: the same model, prompts, lengths, batch and epochs, in turns.

Each runs in a process of its own, so that its peak of memory is its own. Ours runs what a `ppo` run does for an update
(workers/ppo/train.py), without looks at held-out prompts, which TRL has not. `python -m bench.ppo_profile` says where
our time goes.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.peer_environment import Child, python_with, run

MODEL = "smollm2-135m-instruct"
BATCH, EPOCHS, TOKENS, MICRO, RANK = 16, 4, 48, 8, 16
UPDATES = {"ours": 4, "peer": 1}
"""After a first one, which is not counted."""
LAYERS = {"the last 8 layers, as by default": 8, "every layer, in the reward model too": 0}
THREADS = 2


def measure() -> list[Figure]:
    """Episodes a second with adapters in the last layers and in all, beside TRL with adapters in all."""
    from bench.sampling import read_prompts
    from workers.language.model import load, number_format, prepare

    python = python_with("trl==1.12.0", "peft", "pandas", "transformers>=4.56")
    prompts = read_prompts(load(MODEL, "float32"), BATCH * (UPDATES["peer"] + 1))
    facts = {"model": str(prepare(MODEL)), "prompts": prompts, "tokens": TOKENS, "batch": BATCH, "micro": MICRO}
    facts |= {"epochs": EPOCHS, "rank": RANK, "threads": THREADS, "updates": UPDATES["peer"] + 1}
    facts |= {"dtype": number_format(MODEL)}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(facts))
        file.flush()
        ours = {name: [_ours(layers)] for name, layers in LAYERS.items()}
        peer = run([str(python), str(Path(__file__).with_name("trl_ppo.py")), file.name])
        for name, layers in LAYERS.items():
            ours[name].append(_ours(layers))
    peers = _rate(peer.found)
    found = [Figure(f"PPO episodes a second, TRL 1.12, LoRA in every layer, {facts['dtype']}", peers, "/s")]
    found += [Figure("… its peak of memory", peer.peak_gb, "GB")]
    for name, layers in LAYERS.items():
        rate = statistics.mean(_rate([sum(one.values()) for one in child.found]) for child in ours[name])
        memory = max(child.peak_gb for child in ours[name])
        promised = (8.0, 1 / 3) if layers else (None, None)
        found += [
            Figure(f"PPO episodes a second, {name}", rate, "/s"),
            Figure("… beside TRL's", rate / peers, "x", at_least=promised[0]),
            Figure("… memory beside TRL's", memory / peer.peak_gb, "x", at_most=promised[1]),
        ]
    return found


def _rate(seconds: Sequence[float]) -> float:
    """Episodes a second, the first update left out."""
    return BATCH * (len(seconds) - 1) / sum(seconds[1:])


def _ours(layers: int, tokens: int = TOKENS) -> Child:
    command = [sys.executable, "-m", "bench.ppo_speed", "--layers", str(layers), "--tokens", str(tokens)]
    return run(command)


def updates(layers: int, tokens: int, count: int) -> list[dict[str, float]]:
    """The seconds of each part of so many PPO updates."""
    import torch

    from app.runs.hyper import PpoHyper
    from bench.sampling import read_prompts
    from workers.language import adapters
    from workers.language.adapters import LoraConfig
    from workers.language.layers import block_count, upper_blocks
    from workers.language.model import load
    from workers.policy import POLICY
    from workers.ppo.rollout import Trunk, draw, look_at, micro_batches
    from workers.ppo.update import advantages_of, learn, minibatches_of

    torch.set_num_threads(THREADS)
    lm = replace(load(MODEL), eos=frozenset())  # in the number format that this processor is faster with
    hyper = PpoHyper(
        batch=BATCH, answers_per_prompt=1, max_new_tokens=tokens, minibatches=1, epochs=EPOCHS, train_layers=layers
    )
    lower = upper_blocks(lm, layers)
    shape = LoraConfig(RANK, 2 * RANK, layers=tuple(range(lower, block_count(lm))))
    adapters.create(lm, POLICY, shape, seed=1)
    trunk = Trunk(lm, _reward(lm, lower), lower)
    prompts = read_prompts(lm, BATCH * 3)
    weights = lm.adapters[POLICY].parameters()
    optimiser = torch.optim.AdamW(weights, lr=1e-6, betas=(0.9, 0.95), weight_decay=0.0)
    found, value = [], None
    for update in range(count):
        marks = [time.perf_counter()]
        asked = [prompts[(update * BATCH + index) % len(prompts)] for index in range(BATCH)]
        drawn = draw(trunk, asked, tokens, seed=update * BATCH)
        marks.append(time.perf_counter())
        rows = [(one.prompt_ids, one.token_ids) for one in drawn]
        micros = micro_batches(rows, minibatches_of(BATCH, 1, update))
        rollout = look_at(trunk, drawn, micros[0], keep=True)
        marks.append(time.perf_counter())
        earned = rollout.rewards(hyper.score_clip, hyper.missing_eos_penalty, expected=False)
        advantages = advantages_of(rollout, earned, hyper, 0.05, value)
        value = advantages.head
        marks.append(time.perf_counter())
        learn(trunk, rollout, advantages.values, micros, weights, optimiser, hyper, update)
        marks.append(time.perf_counter())
        parts = ("draw", "look", "advantages", "learn")
        found.append({part: end - start for part, start, end in zip(parts, marks, marks[1:], strict=False)})
    return found


def _reward(lm: Any, lower: int) -> Any:
    """A reward model as it is by default, a head on frozen states; with adapters in every layer if the policy has."""
    import torch

    from app.runs.hyper import RewardHyper
    from workers.language import adapters
    from workers.language.adapters import LoraConfig
    from workers.reward.model import POOLS, RewardModel, pooled_layer, with_adapter

    hyper = RewardHyper()
    width = lm.model.config.hidden_size
    features = len(POOLS[hyper.pooling]) * width
    zeros, ones = torch.zeros(features), torch.ones(features)
    model = RewardModel(lm, pooled_layer(lm, hyper.depth), hyper.pooling, zeros, ones, ones / features)
    if lower:
        return model
    adapters.create(lm, "reward", LoraConfig(RANK, 2 * RANK), seed=2)
    return with_adapter(model, "reward", 0, torch.zeros(width), torch.ones(width))


def main() -> None:
    """One process of ours: prints the seconds of its updates as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    given = parser.parse_args()
    print(json.dumps(updates(given.layers, given.tokens, UPDATES["ours"] + 1)))


if __name__ == "__main__":
    main()
