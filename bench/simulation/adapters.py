"""What adapters add to the instant head: by rule and number of labels, judged on the test's prompts.

The trainer's own code on the base model's states, which are computed once for all rules and kept in memory.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from app.runs.hyper import RewardHyper
from bench.simulation import base, labels
from bench.simulation.reward import FLIPS, standardised, verdict
from workers import saved_state
from workers.context import IterationSpec, Parents
from workers.language.adapters import detach
from workers.language.layers import upper_blocks
from workers.language.model import LanguageModel, load
from workers.prompts import codec
from workers.reward import data
from workers.reward.adapt import NAME, adapt
from workers.reward.frozen import FrozenStates, read_states
from workers.reward.loss import preferred_probability
from workers.reward.model import POOLS, pooled_layer, score_all
from workers.reward.train import fit_instant


class Quiet:
    """A context that nobody listens to."""

    rank, world_size = 0, 1

    def report(self, phase: str, step: int, total: int, metrics: Mapping[str, float], text: str = "") -> None:
        """Say how unseen answers fare, where that was measured."""
        if "nll" in metrics:
            print(f"  {step} of {total}: {metrics['nll']:.4f} nats", file=sys.stderr)

    def samples(self, items: Sequence[Mapping[str, str]]) -> None:
        """Drop them."""

    def should_stop(self) -> bool:
        """Never."""
        return False


def study(home: Path, counts: Sequence[int], rules: Sequence[str], seed: int, hyper: dict[str, Any]) -> None:
    """Append one line per rule and number of labels to adapters.jsonl."""
    lm, pairs = load(base.MODEL), base.read_pairs(home)
    place = home.as_uri()
    spec = IterationSpec(
        run="1",
        kind="reward",
        base_model=base.MODEL,
        seed=seed,
        snapshot=None,
        prompts=None,
        parents=Parents(),
        candidate=None,
        work=f"{place}/work-adapters/",
        output=f"{place}/adapters/",
        hyper=RewardHyper(**hyper),
    )
    taught, noise = labels.draw(seed, pairs, max(counts), FLIPS)
    judged = [index for index, pair in enumerate(pairs) if pair["part"] != "train"]
    states = _read(lm, pairs, [*taught, *judged], cast(RewardHyper, spec.hyper))
    for gold in rules:
        worth = standardised(gold, pairs)
        for count in counts:
            table = labels.rows(pairs, worth, noise, [*taught[:count], *judged], {"selection", "test"})
            found = {"gold": gold, "labels": count, "seed": seed, "hyper": hyper}
            found |= _fit(spec, lm, pairs, worth, table, states)
            with (home / "adapters.jsonl").open("a") as lines:
                lines.write(json.dumps(found) + "\n")
            print(json.dumps(found), file=sys.stderr)


class States(NamedTuple):
    """The base model's states of the rows of some pairs."""

    frozen: FrozenStates
    place: dict[int, int]
    """By pair, where its first row is; the second comes next."""

    def of(self, pairs: Sequence[int]) -> FrozenStates:
        """Return those of the given pairs, in their order."""
        rows = [self.place[pair] + side for pair in pairs for side in (0, 1)]
        assert self.frozen.last is not None
        kept = {layer: [states[row] for row in rows] for layer, states in self.frozen.kept.items()}
        return FrozenStates(self.frozen.pooled[rows], self.frozen.last[rows], kept)


def _read(lm: LanguageModel, pairs: list[dict[str, Any]], chosen: Sequence[int], hyper: RewardHyper) -> States:
    rows = [(pairs[index]["prompt_token_ids"], pairs[index][f"tokens_{side}"]) for index in chosen for side in "ab"]
    layer, lower = pooled_layer(lm, hyper.depth), upper_blocks(lm, hyper.train_layers)
    started = time.monotonic()
    frozen = read_states(lm, rows, layer, POOLS[hyper.pooling], lower, lambda *_: None)
    print(f"read {len(rows)} answers in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return States(frozen, {int(index): 2 * number for number, index in enumerate(chosen)})


def _fit(
    spec: IterationSpec,
    lm: LanguageModel,
    pairs: list[dict[str, Any]],
    worth: np.ndarray,
    table: list[dict[str, Any]],
    states: States,
) -> dict[str, Any]:
    """Fit the head, train adapters from it, ended by the selection's answers, and judge both on the test's prompts."""
    hyper = cast(RewardHyper, spec.hyper)
    preferences = data.from_table(table, codec(lm), lm.context)
    chosen = [int(row["comparison"]) for row in table]
    frozen = states.of(chosen)
    instant = fit_instant(lm, preferences, frozen, hyper)
    part = np.array([pairs[index]["part"] for index in chosen])
    started = time.monotonic()
    adapted = adapt(
        spec,
        Quiet(),
        preferences,
        frozen,
        instant.model,
        instant.spacing,
        part[preferences.answers.pair] == "selection",
    )
    found: dict[str, Any] = {"seconds": time.monotonic() - started, **adapted.metrics}
    tested = part == "test"
    lead = (worth[:, 0] - worth[:, 1])[chosen][tested]
    for name, model in {"head": instant.model, "adapters": adapted.model or instant.model}.items():
        scores = score_all(model, preferences.rows, frozen.base).double().numpy()
        delta = (scores[preferences.first] - scores[preferences.second])[tested]
        probability = preferred_probability(delta, np.full(len(delta), instant.spacing[0]))
        found[name] = verdict(delta, probability, preferences.lengths()[tested], lead, labels.truth(lead, FLIPS, 0.0))
    detach(lm, NAME)
    saved_state.clear(spec)
    return found
