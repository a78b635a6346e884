"""From 500 labels to a policy, as the product does it: reward run, PPO run, DPO run; then the rule on unseen prompts.

The selection prompts judge points and end runs; the test prompts are answered once, at the end.
"""

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from bench.simulation import base, golds, labels
from bench.simulation.prompts import all_prompts
from bench.trainer import run, write_prompts
from workers import artifacts
from workers.language.adapters import attach
from workers.language.decode import generate
from workers.language.model import load
from workers.language.tokens import decode, encode_prompt
from workers.ppo.math import distinct_share
from workers.reward.report import wilson_clustered

LABELS, FLIPS = 500, 0.1
ANSWERS = 2
"""To each test prompt, from each policy."""
BASE_SEED, TEST_SEED = 31_000, 32_000


def study(home: Path, gold: str, seed: int) -> None:
    """Train by one rule and one seed and append what came of it to policy.jsonl."""
    here = home / f"{gold}-{seed}"
    here.mkdir(exist_ok=True)
    shared = {"base_model": base.MODEL, "seed": seed, "prompts": _prompts(here)}
    snapshot = _snapshot(home, here, gold, seed)
    started = time.monotonic()
    reward = run(here, "reward", shared | {"snapshot": snapshot})
    parents = {"reward": {"id": "1", **reward["result"]["checkpoint"]}, "policy": None}
    made = {"ppo": run(here, "ppo", shared | {"parents": parents})}
    print(f"reward and ppo after {time.monotonic() - started:.0f} s", file=sys.stderr)
    made["dpo"] = run(here, "dpo", shared | {"snapshot": snapshot})
    before = _answers(home, None, BASE_SEED)
    found: dict[str, Any] = {"gold": gold, "seed": seed, "labels": LABELS, "flips": FLIPS, "base": _shape(before)}
    found["reward"] = {"seconds": reward["seconds"], "metrics": reward["result"]["metrics"]}
    for kind, one in made.items():
        after = _answers(here, one["result"]["checkpoint"], TEST_SEED)
        metrics = one["result"]["metrics"]
        found[kind] = _win(gold, after, before) | _shape(after)
        found[kind] |= {"kl": metrics["kl"], "seconds": one["seconds"], "peak_gb": one["peak_gb"]}
    with (home / "policy.jsonl").open("a") as lines:
        lines.write(json.dumps(found) + "\n")


def _prompts(here: Path) -> dict[str, str]:
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


def _snapshot(home: Path, here: Path, gold: str, seed: int) -> dict[str, str]:
    """Write the labelled training pairs and, as held-out ones, the labelled selection pairs."""
    pairs = base.read_pairs(home)
    worth = np.array([golds.scores(gold, (pair["response_a"], pair["response_b"])) for pair in pairs])
    taught, noise = labels.draw(seed, pairs, LABELS, FLIPS)
    chosen = [*taught, *(index for index, pair in enumerate(pairs) if pair["part"] == "selection")]
    rows = labels.rows(pairs, worth / worth.std(), noise, chosen, {"selection"})
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), buffer, compression="zstd")
    url = (here / "snapshot").as_uri()
    return {"url": url, "sha256": artifacts.write(url, "snapshot", "", {"answers.parquet": buffer.getvalue()})}


def _answers(where: Path, checkpoint: dict[str, str] | None, seed: int) -> dict[str, Any]:
    """Return answers to every test prompt, sampled as people see them; from a file if they were sampled before."""
    name = "base" if checkpoint is None else checkpoint["sha256"][:12]
    file = where / f"test-{name}.json"
    if file.exists():
        return json.loads(file.read_text())  # type: ignore[no-any-return]
    lm = load(base.MODEL)
    if checkpoint is not None:
        attach(lm, "policy", artifacts.read(checkpoint["url"], checkpoint["sha256"]))
    asked = [one.text for one in all_prompts() if one.part == "test"]
    ids = [encode_prompt(lm, [{"role": "user", "content": text}]) for text in asked]
    drawn = generate(lm, ids, ANSWERS, base.SEEN, seed, None if checkpoint is None else "policy")
    found = {
        "texts": [[decode(lm, one.token_ids) for one in several] for several in drawn],
        "ended": float(np.mean([one.finish == "stop" for several in drawn for one in several])),
        "distinct": distinct_share([several[0].token_ids for several in drawn]),
    }
    file.write_text(json.dumps(found))
    return found


def _win(gold: str, after: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return how often the policy's answer beats the base model's by the rule; a prompt is the unit of the interval."""
    rates = []
    for ours, theirs in zip(after["texts"], before["texts"], strict=True):
        lead = golds.scores(gold, ours)[:, None] - golds.scores(gold, theirs)[None]
        rates.append(float(((lead > 0) + 0.5 * (lead == 0)).mean()))
    low, high = wilson_clustered(np.array(rates), ANSWERS)
    worth = [
        float(golds.scores(gold, [text for two in side["texts"] for text in two]).mean()) for side in (before, after)
    ]
    return {"win": float(np.mean(rates)), "win_low": low, "win_high": high, "gold_base": worth[0], "gold": worth[1]}


def _shape(answers: dict[str, Any]) -> dict[str, Any]:
    texts = [text for several in answers["texts"] for text in several]
    return {
        "words": float(np.mean([len(text.split()) for text in texts])),
        "ended": answers["ended"],
        "distinct": answers["distinct"],
        "examples": [several[0] for several in answers["texts"][:6]],
    }
