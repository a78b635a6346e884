"""From 500 labels to a policy, ours beside TRL: minutes, memory, and how often the policy wins by the hidden rule.

`python -m bench.headline --home DIR --minutes 60` takes the pairs that `python -m bench.simulation sample` left in DIR,
labels 500 of them, and gives these to both sides, one after the other, on a machine that does nothing else:

- ours: a reward run and a PPO run with the defaults, each the child process that the product starts;
- TRL 1.16's RewardTrainer, then TRL 1.12's PPOTrainer for so many minutes, once for each `--settings`, its adapter
  written down every `--every` minutes.

Of TRL's points the one counts that wins most by the rule itself on the selection prompts within the KL budget, a choice
that ours is not given: its own is made by its reward model. The test prompts are answered once by both.
"""

import argparse
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from bench import trainer
from bench.peer_environment import python_with, run
from bench.ppo_speed import MICRO, RANK, THREADS
from bench.simulation import answers, base, golds, policy
from bench.simulation.prompts import all_prompts
from workers import artifacts, drift
from workers.language.adapters import CONFIG, WEIGHTS, attach, detach
from workers.language.decode import generate
from workers.language.model import LanguageModel, load, number_format, prepare
from workers.language.tokens import decode, encode_prompt
from workers.prompts import Prompt

BATCH, EPOCHS, TOKENS, BUDGET = 64, 4, 64, 6.0
SELECTION_ANSWERS, SEED = 160, 34_000
TUNED = {"rate": 3e-4, "kl": 0.05, "penalty": 1.0, "minibatches": 1}
"""What TRL's PPO starts from: its own defaults but for the step size, which is LoRA's, and a charge for no end."""


def main() -> None:
    """Run both sides and print what came of each as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--gold", choices=golds.GOLDS, default="warm-and-measured")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=10)
    parser.add_argument("--settings", type=json.loads, nargs="+", default=[{}], help="for TRL's PPO, as JSON")
    parser.add_argument("--only", choices=("ours", "trl"))
    given = parser.parse_args()
    here = given.home / f"headline-{given.gold}-{given.seed}"
    here.mkdir(exist_ok=True)
    snapshot = policy.write_snapshot(given.home, here, given.gold, given.seed)
    if given.only != "trl":
        print(json.dumps(ours(given.home, here, given.gold, given.seed, snapshot)), flush=True)
    if given.only != "ours":
        scorer = trl_reward(here, snapshot)
        print(json.dumps(scorer), flush=True)
        for number, settings in enumerate(given.settings):
            print(json.dumps(trl_ppo(given, here / f"trl-{number}", scorer["save"], settings)), flush=True)


def ours(home: Path, here: Path, gold: str, seed: int, snapshot: dict[str, str]) -> dict[str, Any]:
    """Reward run and PPO run with the defaults."""
    shared = {"base_model": base.MODEL, "seed": seed, "prompts": policy.write_project_prompts(here)}
    reward = trainer.run(here, "reward", shared | {"snapshot": snapshot})
    parents = {"reward": {"id": "1", **reward["result"]["checkpoint"]}, "policy": None}
    ppo = trainer.run(here, "ppo", shared | {"parents": parents})
    found = {"side": "ours", "seconds": [reward["seconds"], ppo["seconds"]]}
    found |= {"peak_gb": max(reward["peak_gb"], ppo["peak_gb"]), "kl": ppo["result"]["metrics"]["kl"]}
    return found | judged(home, here, gold, ppo["result"]["checkpoint"])


def trl_reward(here: Path, snapshot: dict[str, str]) -> dict[str, Any]:
    """TRL's reward model, trained on the decisive ones of the same labels."""
    table = parquet.read_table(io.BytesIO(artifacts.read(snapshot["url"], snapshot["sha256"])["answers.parquet"]))
    pairs: dict[bool, list[Any]] = {True: [], False: []}
    for row in table.to_pylist():
        if row["preferred"]:
            sides = ("a", "b") if row["preferred"] == "a" else ("b", "a")
            pairs[row["holdout"]].append([row["prompt_token_ids"] + row[f"tokens_{side}"] for side in sides])
    facts = {"model": str(prepare(base.MODEL)), "train": pairs[False], "heldout": pairs[True], "batch": 8, "rank": RANK}
    facts |= {"threads": THREADS, "dtype": number_format(base.MODEL), "epochs": 2, "save": str(here / "trl-reward")}
    child = _run([sys.executable, str(Path(__file__).with_name("trl_reward.py"))], facts)
    return {"side": "TRL 1.16 reward", "peak_gb": child.peak_gb, "save": facts["save"], **child.found}


def trl_ppo(given: argparse.Namespace, here: Path, scorer: str, settings: dict[str, Any]) -> dict[str, Any]:
    """TRL's PPO with that reward model; every point that it wrote, and the best of them on the test's prompts."""
    python = python_with("trl==1.12.0", "peft", "pandas", "transformers>=4.56")
    lm = load(base.MODEL)
    texts = [one.text for one in all_prompts() if one.part == "train"]
    asked = [encode_prompt(lm, [{"role": "user", "content": text}]) for text in texts]
    facts = {"model": str(prepare(base.MODEL)), "prompts": asked, "tokens": TOKENS, "batch": BATCH, "micro": MICRO}
    facts |= {"epochs": EPOCHS, "rank": RANK, "threads": THREADS, "updates": 10_000, "dtype": number_format(base.MODEL)}
    facts |= {"reward": scorer, "seconds": 60 * given.minutes, "every": 60 * given.every, "save": str(here), **TUNED}
    child = _run([str(python), str(Path(__file__).with_name("trl_ppo.py"))], facts | settings)
    written = sorted((one for one in here.iterdir() if one.name.isdecimal()), key=lambda one: int(one.name))
    before = on_selection(lm, None)
    points = [seen(lm, given.gold, one, before) for one in written]
    found = {"side": "TRL 1.12 PPO", "settings": TUNED | settings, "updates": len(child.found)}
    found |= {"peak_gb": child.peak_gb, "points": points}
    within = [one for one in points if one["kl"] <= BUDGET]
    if not within:
        return found
    best = max(within, key=lambda one: float(one["win"]))
    return found | {"kept": best["seconds"], **judged(given.home, here, given.gold, best["checkpoint"])}


def selection_prompts(lm: LanguageModel) -> list[Prompt]:
    """The prompts that choose among TRL's points."""
    asked = [one.text for one in all_prompts() if one.part == "selection"]
    return [Prompt(text, encode_prompt(lm, [{"role": "user", "content": text}]), True) for text in asked]


def on_selection(lm: LanguageModel, adapter: str | None) -> list[list[str]]:
    """Answers to these prompts as people see them, the base model's without an adapter."""
    ids = [one.ids for one in selection_prompts(lm)]
    drawn = generate(lm, ids, SELECTION_ANSWERS // len(ids), base.SEEN, SEED + (adapter is not None), adapter)
    return [[decode(lm, one.token_ids) for one in several] for several in drawn]


def seen(lm: LanguageModel, gold: str, written: Path, before: list[list[str]]) -> dict[str, Any]:
    """One point of TRL's on the selection prompts: KL, and how often it wins by the rule against answers `before`."""
    files = {name: (written / name).read_bytes() for name in (CONFIG, WEIGHTS)}
    url = f"{written.as_uri()}-kept"
    checkpoint = {"url": url, "sha256": artifacts.write(url, "policy", base.MODEL, files)}
    attach(lm, written.name, files)
    moved = drift.measure(lm, written.name, selection_prompts(lm), SELECTION_ANSWERS, TOKENS, SEED)
    after = on_selection(lm, written.name)
    detach(lm, written.name)
    return {"seconds": int(written.name), "kl": moved.kl, "checkpoint": checkpoint, **answers.win(gold, after, before)}


def judged(home: Path, here: Path, gold: str, checkpoint: dict[str, str]) -> dict[str, Any]:
    """The test's prompts: wins against the base model by the rule, and the shape of the answers."""
    before, after = answers.of_base(home), answers.of_policy(here, checkpoint)
    found = answers.win(gold, after["texts"], before["texts"]) | answers.shape(after)
    found.pop("examples")
    return found


def _run(command: list[str], facts: dict[str, Any]) -> Any:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(facts))
        file.flush()
        return run([*command, file.name])


if __name__ == "__main__":
    main()
