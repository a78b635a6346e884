"""From 500 labels to a policy, as the product does it: reward run, PPO run, DPO run; then the rule on unseen prompts.

The selection prompts judge points and end runs; the test prompts are answered once, at the end. A second PPO run has no
price on KL: it shows what over-optimisation looks like with this reward model. Best-of-n re-ranks with it.
"""

import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from bench.simulation import answers, base, best_of, labels, watched
from bench.simulation.prompts import all_prompts
from bench.simulation.reward import standardised
from bench.trainer import run, write_prompts
from workers import artifacts

LABELS, FLIPS = 500, 0.1
WAYS = ("ppo", "dpo", "best-of", "free")
"""`free` is a second PPO run, without a price on KL."""
FREE = {"kl_coefficient": 0.0, "kl_target": 100.0, "kl_budget": 100.0, "patience": 0, "updates": 20}
"""Settings of PPO that let it follow the reward wherever it leads."""


def study(home: Path, gold: str, seed: int, ways: Sequence[str]) -> None:
    """Train by one rule and one seed in some of WAYS and append what came of it to policy.jsonl."""
    here = home / f"{gold}-{seed}"
    here.mkdir(exist_ok=True)
    shared = {"base_model": base.MODEL, "seed": seed, "prompts": write_project_prompts(here)}
    snapshot = write_snapshot(home, here, gold, seed)
    before = answers.of_base(home)
    found: dict[str, Any] = {"gold": gold, "seed": seed, "labels": LABELS, "flips": FLIPS}
    found["base"] = answers.shape(before) | {"gold": answers.worth(gold, before["texts"])}
    # 1. The reward model.
    started = time.monotonic()
    reward = run(here, "reward", shared | {"snapshot": snapshot})
    checkpoint = reward["result"]["checkpoint"]
    found["reward"] = {"seconds": reward["seconds"], "metrics": reward["result"]["metrics"]}
    # 2. Policies, and the test's prompts.
    parents = {"reward": {"id": "1", **checkpoint}, "policy": None}
    plans: dict[str, tuple[str, dict[str, Any]]] = {
        "ppo": ("ppo", {"parents": parents}),
        "dpo": ("dpo", {"snapshot": snapshot}),
        "free": ("ppo", {"parents": parents, "hyper": FREE}),
    }
    for name, (kind, fields) in plans.items():
        if name not in ways:
            continue
        one = watched.run(here, name, kind, gold, shared | fields)
        if name == "ppo":
            print(f"reward and ppo after {time.monotonic() - started:.0f} s", file=sys.stderr)
        found[name] = {"looks": one["looks"], "seconds": one["seconds"], "kl": one["result"]["metrics"]["kl"]}
        if name != "free":
            after = answers.of_policy(here, one["result"]["checkpoint"])
            found[name] |= answers.win(gold, after["texts"], before["texts"]) | answers.shape(after)
            found[name]["gold"] = answers.worth(gold, after["texts"])
    # 3. Best of n by the same reward model.
    if "best-of" in ways:
        found["best_of"] = best_of.frontier(home, gold, checkpoint, before)
    with (home / "policy.jsonl").open("a") as lines:
        lines.write(json.dumps(found) + "\n")


def write_project_prompts(here: Path) -> dict[str, str]:
    """Write the prompts as a run reads them: those for selection are the held-out ones, the test's are not there."""
    return write_prompts(
        here,
        [
            {
                "id": str(index),
                "messages": [{"role": "user", "content": one.text}],
                "holdout": one.part == "selection",
            }
            for index, one in enumerate(all_prompts())
            if one.part != "test"
        ],
    )


def write_snapshot(home: Path, here: Path, gold: str, seed: int) -> dict[str, str]:
    """Write the labelled training pairs and, as held-out ones, the labelled selection pairs."""
    pairs = base.read_pairs(home)
    taught, noise = labels.draw(seed, pairs, LABELS, FLIPS)
    chosen = [*taught, *(index for index, pair in enumerate(pairs) if pair["part"] == "selection")]
    rows = labels.rows(pairs, standardised(gold, pairs), noise, chosen, {"selection"})
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), buffer, compression="zstd")
    url = (here / "snapshot").as_uri()
    return {"url": url, "sha256": artifacts.write(url, "snapshot", "", {"answers.parquet": buffer.getvalue()})}
