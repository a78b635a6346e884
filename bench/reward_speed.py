"""Pairs a second that the reward model learns from, memory and accuracy, beside TRL 1.16's RewardTrainer, in turns.

The same pairs, LoRA of rank 16 and one epoch for both. Steps are compared with steps. The whole run holds besides all
that a `reward` run does up to the trained adapters: reading every response, which every further epoch uses again, the
instant head, and three looks at unseen pairs; TRL's has none of these.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.settings import settings
from app.simulation.gold import RULES
from bench.figures import Figure
from bench.peer_environment import Child, run
from workers.context import RecordingContext

MODEL, RULE = "smollm2-135m-instruct", "warm-and-measured"
TRAIN, HELDOUT = 96, 48
RANK, BATCH, THREADS = 16, 8, 2
LAYERS = {"every layer": (0, 3.0), "the last 8 layers, states below kept": (8, 8.0)}


def measure() -> list[Figure]:
    """Pairs a second, peak memory and held-out accuracy of both."""
    from workers.language.model import number_format, prepare

    dtype = number_format(MODEL)
    pairs = labelled(Path(settings.cache_dir) / "bench")
    heldout = [_ids(one) for one in pairs if one["holdout"]]
    facts: dict[str, Any] = {"model": str(prepare(MODEL)), "train": [_ids(one) for one in pairs if not one["holdout"]]}
    facts |= {"heldout": heldout, "batch": BATCH, "rank": RANK, "threads": THREADS, "dtype": dtype}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(facts))
        file.flush()
        peer = run([sys.executable, str(Path(__file__).with_name("trl_reward.py")), file.name])
        ours = {name: _ours(layers) for name, (layers, _) in LAYERS.items()}
    rate = TRAIN / peer.found["seconds"]
    found = [
        Figure(f"reward model, pairs a second, TRL 1.16, LoRA in every layer, {dtype}", rate, "/s"),
        Figure("… its peak of memory", peer.peak_gb, "GB"),
        Figure(f"… right about {len(heldout)} held-out pairs", peer.found["right"], ""),
    ]
    for name, (_, promised) in LAYERS.items():
        mine, memory = ours[name].found, ours[name].peak_gb / peer.peak_gb
        found += [
            Figure(f"reward model, pairs a second, {name}", mine["rate"], "/s"),
            Figure("… beside TRL's", mine["rate"] / rate, "x", at_least=promised),
            Figure("… the whole run beside TRL's steps", TRAIN / mine["seconds"] / rate, "x"),
            Figure("… memory beside TRL's", memory, "x", at_most=1 / 3),
            Figure("… right about held-out pairs", mine["right"], "", at_least=peer.found["right"]),
        ]
    return found


def labelled(kept: Path) -> list[dict[str, Any]]:
    """Pairs that the model sampled (once, kept in the cache), with the rule's choice; the last prompts are held out.

    One in ten choices about training prompts is a slip.
    """
    import random

    from bench.trainer import FLIPS, read_prompts, sample_pairs

    kept.mkdir(parents=True, exist_ok=True)
    count = TRAIN + HELDOUT + 6  # a few more, for those that the rule holds for equal
    rule, slips = RULES[RULE], random.Random(1)
    pairs = sample_pairs(MODEL, read_prompts(), count, kept / f"pairs-{count}.json")
    decided = []
    for pair in pairs:
        lead = rule.score(pair["response_a"]) - rule.score(pair["response_b"])
        if lead:
            decided.append({**pair, "preferred": "a" if lead > 0 else "b"})
    decided = decided[: TRAIN + HELDOUT]
    for number, pair in enumerate(decided):
        pair["holdout"] = number >= TRAIN
        if not pair["holdout"] and slips.random() < FLIPS:
            pair["preferred"] = "b" if pair["preferred"] == "a" else "a"
    return decided


@dataclass
class Clock(RecordingContext):
    """Notes when each step was reported."""

    times: list[float] = field(default_factory=list)

    def report(self, *given: Any, **more: Any) -> None:
        super().report(*given, **more)
        self.times.append(time.perf_counter())

    def steps(self) -> list[float]:
        """The seconds of every step but the first that was followed by no look at unseen pairs."""
        looked = ["nll" in metrics for _, _, _, metrics in self.reports]
        return [
            end - start for start, end, look in zip(self.times, self.times[1:], looked[1:], strict=False) if not look
        ]


def _ids(pair: dict[str, Any]) -> tuple[list[int], list[int]]:
    better, worse = ("a", "b") if pair["preferred"] == "a" else ("b", "a")
    prompt: list[int] = pair["prompt_token_ids"]
    return prompt + pair[f"tokens_{better}"], prompt + pair[f"tokens_{worse}"]


def _ours(layers: int) -> Child:
    return run([sys.executable, "-m", "bench.reward_speed", "--layers", str(layers)])


def trained(layers: int) -> dict[str, float]:
    """Train a reward model as a `reward` run does; its seconds and its share of held-out pairs."""
    import torch

    from workers.context import IterationSpec
    from workers.language.layers import upper_blocks
    from workers.language.model import load
    from workers.prompts import codec
    from workers.reward import data
    from workers.reward.adapt import adapt
    from workers.reward.frozen import read_states
    from workers.reward.model import POOLS, pooled_layer, score_all
    from workers.reward.train import fit_instant

    torch.set_num_threads(THREADS)
    lm = load(MODEL)
    table = [_record(number, pair) for number, pair in enumerate(labelled(Path(settings.cache_dir) / "bench"))]
    with tempfile.TemporaryDirectory() as home:
        hyper = {"lora_epochs": 1, "train_layers": layers, "batch_answers": BATCH, "save_every": 10_000}
        names = {"run": "1", "kind": "reward", "base_model": MODEL, "seed": 1, "prompts": None, "candidate": None}
        places = {"snapshot": {"url": "none", "sha256": "none"}, "work": f"file://{home}/", "output": f"file://{home}/"}
        spec = IterationSpec.from_json(json.dumps({**names, **places, "parents": {}, "hyper": hyper}))
        setting: Any = spec.hyper
        begun, clock = time.perf_counter(), Clock()
        preferences = data.from_table(table, codec(lm), setting.max_tokens)
        layer, lower = pooled_layer(lm, setting.depth), upper_blocks(lm, layers)
        kinds = POOLS[setting.pooling]
        frozen = read_states(lm, preferences.rows, layer, kinds, lower, lambda done, total: None)
        instant = fit_instant(lm, preferences, frozen, setting)
        judging = preferences.holdout[preferences.answers.pair]
        adapted = adapt(spec, clock, preferences, frozen, instant.model, instant.spacing, judging)
        seconds = time.perf_counter() - begun
    scores = score_all(adapted.model or instant.model, preferences.rows, frozen.base)
    lead = (scores[preferences.first] - scores[preferences.second]).numpy()[preferences.answers.pair[judging]]
    right = float((lead * preferences.answers.sign[judging] > 0).mean())
    return {"seconds": seconds, "rate": BATCH / statistics.mean(clock.steps()), "right": right}


def _record(number: int, pair: dict[str, Any]) -> dict[str, Any]:
    """A row of a snapshot's table."""
    return {
        **pair,
        "prompt_hash": pair["prompt"][-1]["content"],
        "comparison": str(number),
        "response_a_id": f"{number}a",
        "response_b_id": f"{number}b",
        "verdict": "preferred",
        "strength": None,
        "annotator": "simulated",
        "simulated": True,
        "purpose": "holdout" if pair["holdout"] else "train",
    }


def main() -> None:
    """One process of ours: prints its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, required=True)
    print(json.dumps(trained(parser.parse_args().layers)))


if __name__ == "__main__":
    main()
