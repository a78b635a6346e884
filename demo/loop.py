"""The demo's steps, each through the JSON API: project, labels, chain, and the answers before and after."""

import hashlib
import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.simulation.annotators import SimulatedAnnotator, SimulationError, Tally
from app.simulation.gold import Rule
from demo.client import Client, Json
from demo.measure import Sampled
from demo.stack import DemoError, Stack

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = ROOT / "data" / "prompts.jsonl"
GUIDELINES = ROOT / "data" / "guidelines.md"
UNSEEN_SHARE = 4  # one prompt in this many never enters the project

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What the demo shall do."""

    base_model: str
    rule: Rule
    flips: float
    answers: int
    rounds: int
    seed: int
    force: bool
    max_tokens: int
    preset: str
    answers_per_prompt: int


def read_prompts() -> list[Json]:
    """The prompts of data/prompts.jsonl."""
    return [json.loads(line) for line in PROMPTS.read_text().splitlines() if line.strip()]


def split(prompts: Sequence[Json]) -> tuple[list[Json], list[Json]]:
    """Return the prompts for the project and those nobody will ever label; the text alone decides which."""
    seen: list[Json] = []
    unseen: list[Json] = []
    for prompt in prompts:
        # Salted, so that this has nothing to do with the prompts that the product itself holds out.
        digest = hashlib.sha256(b"demo " + prompt["prompt"].encode()).digest()
        (unseen if digest[0] % UNSEEN_SHARE == 0 else seen).append(prompt)
    return seen, unseen


def make_project(client: Client, plan: Plan, prompts: Sequence[Json]) -> str:
    """Make a project of its own for this demo and return its slug."""
    project = client.post(
        "/api/v1/projects",
        {
            "name": "Demo",
            "guidelines": GUIDELINES.read_text(),
            "base_model": plan.base_model,
            "labels_per_comparison": 1,
            "sampling": {"max_tokens": plan.max_tokens, "stock": min(200, plan.answers)},
        },
    )
    slug = str(project["slug"])
    brought = client.post(f"/api/v1/projects/{slug}/prompts", list(prompts))
    if brought["rejected"]:
        raise DemoError(f"{len(brought['rejected'])} prompts were rejected: {brought['rejected'][0]['why']}")
    return slug


def label(stack: Stack, slug: str, plan: Plan, number: int, say: Say) -> Tally:
    """Let every simulated annotator answer its share of round `number`'s pairs, all at the same time."""
    total = Tally()

    def one(person: int) -> Tally:
        share = plan.answers // len(stack.accounts.annotators) + (
            person < plan.answers % len(stack.accounts.annotators)
        )
        headers = {"Authorization": f"Bearer {stack.accounts.annotators[person]}"}
        chance = random.Random(plan.seed * 1000 + 100 * (number - 1) + person)
        with httpx.Client(base_url=stack.url, headers=headers, timeout=60) as client:
            annotator = SimulatedAnnotator(client, slug, plan.rule, plan.flips, chance)
            for decision in annotator.answer(share, patience=900):
                total.count(decision)
                if total.answers % 50 == 0:
                    say(f"{total.answers} of {plan.answers} pairs answered")
        return annotator.tally

    with ThreadPoolExecutor(len(stack.accounts.annotators)) as pool:
        try:
            tallies = list(pool.map(one, range(len(stack.accounts.annotators))))
        except SimulationError as problem:
            raise DemoError(str(problem)) from problem
    done = sum(tallies, Tally())
    if done.answers < plan.answers:
        raise DemoError(f"Only {done.answers} of {plan.answers} pairs became ready. Look at the sampling runs' pages.")
    return done


def run_chain(client: Client, slug: str, plan: Plan, say: Say) -> Json:
    """Start reward model, PPO, evaluation and promotion, and wait for the end."""
    params: Json = {"seed": plan.seed, "preset": plan.preset, "force": plan.force}
    run = client.post(f"/api/v1/projects/{slug}/runs", {"kind": "chain", "params": params})
    return client.wait_for(slug, str(run["id"]), say, patience=4 * 3600)


def newest(client: Client, slug: str, kind: str) -> Json:
    """The newest checkpoint of a kind; DemoError when training made none."""
    for checkpoint in client.items(f"/api/v1/projects/{slug}/checkpoints"):
        if checkpoint["kind"] == kind:
            return checkpoint
    raise DemoError(f"Training made no {kind} checkpoint. The chain's page says where it stopped and why.")


def ask(client: Client, model: str, prompts: Sequence[str], plan: Plan, say: Say) -> dict[str, list[Sampled]]:
    """Ask a model every prompt several times, with the project's own sampling and fixed seeds."""

    def answers(numbered: tuple[int, str]) -> list[Sampled]:
        number, prompt = numbered
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "n": plan.answers_per_prompt,
            "seed": 1_000_000 + 100 * number,
            "max_tokens": plan.max_tokens,
        }
        given = client.post("/v1/chat/completions", body)["choices"]
        return [Sampled(one["message"]["content"], one["finish_reason"] == "stop") for one in given]

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answered = dict(zip(prompts, pool.map(answers, enumerate(prompts)), strict=True))
    say(f"{model} answered {len(prompts)} prompts in {time.monotonic() - started:.0f} s")
    return answered
