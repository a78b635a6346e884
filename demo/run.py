"""The demo from the first label to the page with its findings."""

import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app import __version__
from app.runs.hyper import HYPER
from app.simulation.annotators import Tally
from app.simulation.commands import summary
from demo import loop, page
from demo.client import Client, Json
from demo.loop import Plan
from demo.measure import Answers, describe, win_rate
from demo.stack import Stack

SHOWN = 8
STEPS = {"reward": "Reward model", "ppo": "PPO", "evaluate": "Evaluation", "sample": "Sampling"}


class Clock:
    """How long each part took in all rounds together, in seconds, in the order in which they came."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        self.say(f"{name} …")
        began = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def say(self, sentence: str) -> None:
        print(f"{page.minutes(time.monotonic() - self.started):>12}  {sentence}", file=sys.stderr, flush=True)


@dataclass
class Round:
    """One way round the loop, and the answers of the policy that was in use after it."""

    tally: Tally
    chain: Json
    policy: Json
    sentences: list[str]
    answers: Answers


def demonstrate(stack: Stack, plan: Plan, directory: Path) -> dict[str, Path]:
    """Run the whole demo on a running Pairloop; return the files it wrote."""
    clock = Clock()
    with Client(stack.url, stack.accounts.token) as client:
        seen, unseen = loop.split(loop.read_prompts())
        prompts = [one["prompt"] for one in unseen]
        slug = loop.make_project(client, plan, seen)
        clock.say(f"Project {slug} with {len(seen)} prompts; {len(unseen)} others are kept for measuring")
        rounds: list[Round] = []
        measured: dict[str, Answers] = {}  # by policy: a round whose candidate is refused leaves the one before in use
        for number in range(1, plan.rounds + 1):
            with clock.part("labels"):
                tally = loop.label(stack, slug, plan, number, clock.say)
            with clock.part("chain"):
                chain = loop.run_chain(client, slug, plan, clock.say)
            policy, sentences = in_use(client, slug, chain)
            if policy["id"] not in measured:
                with clock.part("measuring"):
                    measured[policy["id"]] = loop.ask(client, f"{slug}@{policy['id']}", prompts, plan, clock.say)
            rounds.append(Round(tally, chain, policy, sentences, measured[policy["id"]]))
        with clock.part("measuring"):
            before = loop.ask(client, f"{slug}@base", prompts, plan, clock.say)
        findings = told(client, slug, plan, rounds, before, clock.seconds)
    return page.write(findings, directory)


def told(
    client: Client, slug: str, plan: Plan, rounds: Sequence[Round], before: Answers, seconds: dict[str, float]
) -> dict[str, Any]:
    """The page's findings: the round that made the policy now in use in full, and a line for each round."""
    made = next(one for one in rounds if one.policy["id"] == rounds[-1].policy["id"])
    runs = steps_of(client, slug, made.chain, plan)
    labels = sum((one.tally for one in rounds), Tally())
    return {
        "project": slug,
        "labels": summary(labels, plan.flips),
        "before": asdict(describe(before, plan.rule)),
        "after": asdict(describe(made.answers, plan.rule)),
        "win": win_rate(made.answers, before, plan.rule).to_json(),
        "kl": float(runs["ppo"]["result"]["kl"]),
        "reward_model": judge_reward_model(runs["reward"]["result"]),
        "runs": runs,
        "rounds": [line(one, before, plan) for one in rounds],
        "sentences": [*made.sentences, *(f"{STEPS[kind]}: {run['message']}" for kind, run in runs.items())],
        "samples": samples(before, made.answers),
        "seconds": {
            **seconds,
            **{f"of the chain: {STEPS[kind]}": run["seconds"] for kind, run in runs.items()},
        },
        "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "version": __version__,
        "machine": machine(),
        "command": " ".join(["python -m demo", *sys.argv[1:]]),
        "base_model": plan.base_model,
        "rule": {"name": plan.rule.name, "sentence": plan.rule.sentence},
        "flips": plan.flips,
        "seed": plan.seed,
        "answers_per_prompt": plan.answers_per_prompt,
    }


def line(one: Round, before: Answers, plan: Plan) -> Json:
    """What is said of one round among the others."""
    return {
        "answers": one.tally.answers,
        "outcome": " ".join(one.sentences),
        "gold": describe(one.answers, plan.rule).gold,
        "win": win_rate(one.answers, before, plan.rule).to_json(),
    }


def in_use(client: Client, slug: str, chain: Json) -> tuple[Json, list[str]]:
    """The policy in use after a chain, and sentences that say what the gates thought of the chain's.

    Where the project has none yet, the one that the chain made is promoted, so that there is something to look at.
    """
    sentences = [one for one in [chain.get("error") or chain.get("message")] if one]
    for checkpoint in client.items(f"/api/v1/projects/{slug}/checkpoints"):
        if checkpoint["kind"] == "policy" and checkpoint["status"] == "promoted":
            return checkpoint, sentences
    policy = loop.newest(client, slug, "policy")
    client.post(f"/api/v1/checkpoints/{policy['id']}/promote", {})
    return policy, [*sentences, "The gates did not promote this policy; the demo did, so that it can be looked at."]


def steps_of(client: Client, slug: str, chain: Json, plan: Plan) -> dict[str, Json]:
    """The chain's steps by kind, each with its settings, its metrics and how long it took."""
    steps = {}
    for run in client.items(f"/api/v1/projects/{slug}/runs"):
        if run["chain"] == chain["id"]:
            kind = run["kind"]
            steps[kind] = {
                "id": run["id"],
                "message": run["error"] or run["message"],
                "metrics": client.get(f"/api/v1/runs/{run['id']}/metrics")["items"],
                "result": run["metrics"],
                "hyper": HYPER[kind].preset(plan.base_model, plan.preset).to_json() if kind in HYPER else {},
                "seconds": lasted(run),
            }
    return {kind: steps[kind] for kind in STEPS if kind in steps}


def lasted(run: Json) -> float:
    """How long a run took, in seconds; 0 for one that never started."""
    if not run["started"] or not run["finished"]:
        return 0.0
    return (datetime.fromisoformat(run["finished"]) - datetime.fromisoformat(run["started"])).total_seconds()


def judge_reward_model(metrics: Json) -> Json:
    """A reward run's figures: on every answer by a head that had not seen it, and on held-out prompts."""
    return {
        "accuracy": metrics["accuracy"],
        "low": metrics["accuracy_low"],
        "high": metrics["accuracy_high"],
        "n": round(metrics["n_heldout"]),
        "length_baseline": metrics["length_baseline"],
        "test_accuracy": metrics.get("test_accuracy"),
        "test_low": metrics.get("test_low"),
        "test_high": metrics.get("test_high"),
        "test_n": round(metrics.get("test_answers", 0)),
    }


def samples(before: Answers, after: Answers) -> list[Json]:
    """The first answer of both models to the first prompts."""
    return [
        {"prompt": prompt, "before": before[prompt][0].text, "after": after[prompt][0].text}
        for prompt in list(before)[:SHOWN]
    ]


def machine() -> str:
    """What this ran on, in one phrase."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} processors ({processor()}), {memory:.0f} GB of memory, Python {platform.python_version()}"


def processor() -> str:
    """The processor's name where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
