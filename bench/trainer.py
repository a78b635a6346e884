"""The trainer alone on simulated labels: reward run, PPO run, evaluation, and what the hidden rule says of the result.

`python -m bench.trainer --rule warm --labels 500 --home DIR` samples pairs once (kept in DIR), labels them by a hidden
rule with 10 % slips, and starts each run as the child process that the product starts. It prints one JSON object.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from app.simulation.gold import RULES, Rule
from workers import artifacts
from workers.language.sampling import Settings

FLIPS = 0.1
PROMPTS = Path(__file__).parents[1] / "data" / "prompts.jsonl"
SEEN = Settings(temperature=0.9, top_p=0.95, max_tokens=64)


def main() -> None:
    """Run everything and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-model", default="smollm2-135m-instruct")
    parser.add_argument("--rule", choices=RULES, default="warm")
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--reward", type=json.loads, default={}, help="settings of the reward run as JSON")
    parser.add_argument("--ppo", type=json.loads, default={}, help="settings of the PPO run as JSON")
    given = parser.parse_args()
    home = given.home / f"{given.rule}-{given.labels}-{given.seed}"
    home.mkdir(parents=True, exist_ok=True)
    prompts = read_prompts()
    pairs = sample_pairs(
        given.base_model, prompts, given.labels, given.home / f"pairs-{given.labels}-{given.seed}.json"
    )
    rule = RULES[given.rule]
    snapshot = write_snapshot(home, pairs, rule, given.seed)
    written = write_prompts(home, prompts)
    shared = {"base_model": given.base_model, "seed": given.seed, "prompts": written}
    reward = run(home, "reward", shared | {"snapshot": snapshot, "hyper": given.reward})
    parents = {"reward": {"id": "1", **reward["result"]["checkpoint"]}, "policy": None}
    policy = run(home, "ppo", shared | {"parents": parents, "hyper": given.ppo})
    candidate = {"id": "2", **policy["result"]["checkpoint"]}
    judged = run(home, "evaluate", shared | {"parents": parents, "candidate": candidate})
    gold = gold_win_rate(given.base_model, prompts, rule, candidate)
    print(json.dumps({"rule": rule.name, "reward": reward, "ppo": policy, "evaluate": judged, "gold": gold}, indent=1))


def read_prompts() -> list[dict[str, Any]]:
    """Return the project's own prompts, held out as the product does it."""
    texts = [json.loads(line)["prompt"] for line in PROMPTS.read_text().splitlines()]
    return [
        {
            "id": str(index),
            "messages": [{"role": "user", "content": text}],
            "holdout": int(sha256(text.lower().encode()).hexdigest()[:8], 16) % 10 == 0,
        }
        for index, text in enumerate(texts)
    ]


def sample_pairs(base_model: str, prompts: list[dict[str, Any]], count: int, file: Path) -> list[dict[str, Any]]:
    """Return `count` sampled pairs with their prompts, from `file` if they were sampled before."""
    if file.exists():
        return json.loads(file.read_text())  # type: ignore[no-any-return]
    from workers.language.decode import generate
    from workers.language.model import load
    from workers.language.tokens import decode, encode_prompt

    lm, started = load(base_model), time.monotonic()
    asked = [prompts[index % len(prompts)] for index in range(count)]
    drawn = generate(lm, [encode_prompt(lm, one["messages"]) for one in asked], 2, SEEN, seed=10_000)
    pairs = [
        {
            "prompt": one["messages"],
            "holdout": one["holdout"],
            "prompt_token_ids": a.prompt_ids,
            **{f"tokens_{side}": response.token_ids for side, response in (("a", a), ("b", b))},
            **{f"response_{side}": decode(lm, response.token_ids) for side, response in (("a", a), ("b", b))},
        }
        for one, (a, b) in zip(asked, drawn, strict=True)
    ]
    print(f"sampled {count} pairs in {time.monotonic() - started:.0f} s", file=sys.stderr)
    file.write_text(json.dumps(pairs))
    return pairs


def write_snapshot(home: Path, pairs: list[dict[str, Any]], rule: Rule, seed: int) -> dict[str, str]:
    """Write the labelled pairs as a snapshot."""
    slips, rows = random.Random(seed), []
    for number, pair in enumerate(pairs):
        lead = rule.score(pair["response_a"]) - rule.score(pair["response_b"])
        lead = -lead if slips.random() < FLIPS else lead
        prompt_hash = sha256(pair["prompt"][-1]["content"].encode()).hexdigest()
        rows.append(
            {
                **pair,
                "prompt_hash": prompt_hash,
                "comparison": str(number),
                "response_a_id": f"{number}a",
                "response_b_id": f"{number}b",
                "verdict": "preferred" if lead else "tie",
                "preferred": ("a" if lead > 0 else "b") if lead else None,
                "strength": rule.strength(lead) if lead else None,
                "annotator": "simulated",
                "simulated": True,
                "purpose": "holdout" if pair["holdout"] else "train",
                "created": datetime(2026, 1, 1, tzinfo=UTC),
            }
        )
    buffer = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), buffer, compression="zstd")
    url = (home / "snapshot").as_uri()
    data = buffer.getvalue().to_pybytes()
    return {"url": url, "sha256": artifacts.write(url, "snapshot", "", {"answers.parquet": data})}


def write_prompts(home: Path, prompts: list[dict[str, Any]]) -> dict[str, str]:
    """Write prompts.jsonl."""
    url = (home / "prompts.jsonl").as_uri()
    return {
        "url": url,
        "sha256": artifacts.write_file(url, "".join(f"{json.dumps(one)}\n" for one in prompts).encode()),
    }


def run(home: Path, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Run one training child; return its result, its seconds and its peak memory. A finished one is not run again."""
    spec = {
        "run": kind,
        "kind": kind,
        "snapshot": None,
        "parents": {"reward": None, "policy": None},
        "candidate": None,
        "work": f"{home.as_uri()}/work-{kind}/",
        "output": f"{home.as_uri()}/{kind}/",
        "hyper": {},
        **fields,
    }
    address, done = f"{home.as_uri()}/{kind}.json", home / f"{kind}-done.json"
    if done.exists() and (known := json.loads(done.read_text()))["spec"] == spec:
        return known["found"]  # type: ignore[no-any-return]
    artifacts.write_file(address, json.dumps(spec).encode())
    started = time.monotonic()
    with (home / f"{kind}.jsonl").open("w") as log:
        child = subprocess.Popen([sys.executable, "-m", "workers.iteration", address], stdout=log)
        peak = os.wait4(child.pid, 0)[2].ru_maxrss / 1e6
    lines = [json.loads(line) for line in (home / f"{kind}.jsonl").read_text().splitlines()]
    if lines[-1]["type"] != "result":
        sys.exit(f"The {kind} run failed: {lines[-1]}")
    found = {"result": lines[-1]["result"], "seconds": round(time.monotonic() - started), "peak_gb": peak}
    done.write_text(json.dumps({"spec": spec, "found": found}))
    return found


def gold_win_rate(
    base_model: str, prompts: list[dict[str, Any]], rule: Rule, candidate: dict[str, str], answers: int = 4
) -> dict[str, Any]:
    """Return how often the candidate beats the base model on held-out prompts by the hidden rule itself."""
    from workers.language.adapters import attach
    from workers.language.decode import generate
    from workers.language.model import load
    from workers.language.tokens import decode, encode_prompt
    from workers.reward.report import wilson_clustered

    lm = load(base_model)
    attach(lm, "candidate", artifacts.read(candidate["url"], candidate["sha256"]))
    heldout = [encode_prompt(lm, one["messages"]) for one in prompts if one["holdout"]]
    texts = {
        name: [
            [decode(lm, one.token_ids) for one in several]
            for several in generate(lm, heldout, answers, SEEN, 20_000, adapter)
        ]
        for name, adapter in (("candidate", "candidate"), ("base", None))
    }
    named = {name: {str(index): one for index, one in enumerate(said)} for name, said in texts.items()}
    rates = rule.win_rates(named["candidate"], named["base"])
    rate = sum(rates.values()) / len(rates)
    found: dict[str, Any] = {
        "win_rate": rate,
        "interval": wilson_clustered(np.array(list(rates.values())), answers),
        "prompts": len(rates),
    }
    for name, said in texts.items():
        flat = [text for several in said for text in several]
        found[name] = {
            "gold": sum(map(rule.score, flat)) / len(flat),
            "words": sum(len(text.split()) for text in flat) / len(flat),
            "examples": [several[0] for several in said[:6]],
        }
    return found


if __name__ == "__main__":
    main()
