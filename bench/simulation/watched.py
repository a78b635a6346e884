"""A training run in this process whose every look at the held-out prompts is judged by the hidden rule as well."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.simulation import answers
from workers import drift
from workers.context import IterationSpec
from workers.iteration import run_iteration

ALL = 10_000


class Watching:
    """A context that keeps one line per look: KL, proxy reward, what the rule says, and the figures of the answers."""

    rank, world_size = 0, 1

    def __init__(self, gold: str) -> None:
        self.gold, self.looks, self._shown = gold, list[dict[str, Any]](), list[Mapping[str, str]]()

    def samples(self, items: Sequence[Mapping[str, str]]) -> None:
        """Keep them until the figures of the same look come."""
        self._shown = list(items)

    def report(self, phase: str, step: int, total: int, metrics: Mapping[str, float], text: str = "") -> None:
        """Judge the look that was shown, if there was one."""
        if "kl_heldout" not in metrics or not self._shown:
            return
        before, after = ([[one[side]] for one in self._shown] for side in ("before", "after"))
        look = {"step": step, "gold_before": answers.worth(self.gold, before), "gold": answers.worth(self.gold, after)}
        look |= answers.win(self.gold, after, before)
        look |= {name: value for name, value in metrics.items() if name.endswith("_heldout")}
        self.looks.append(look)
        print(f"  {phase} {step} of {total}: {look['kl_heldout']:.1f} nats, wins {look['win']:.2f}", file=sys.stderr)

    def should_stop(self) -> bool:
        """Never."""
        return False


def run(here: Path, name: str, kind: str, gold: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Do a `ppo` or `dpo` run; return its result, its looks and its seconds. A finished one is not run again."""
    given = {"run": name, "kind": kind, "snapshot": None, "parents": {"reward": None, "policy": None}}
    given |= {"candidate": None, "hyper": {}, **fields}
    given |= {"work": f"{here.as_uri()}/work-{name}/", "output": f"{here.as_uri()}/{name}/"}
    done = here / f"{name}-done.json"
    if done.exists() and (known := json.loads(done.read_text()))["spec"] == given:
        return known["found"]  # type: ignore[no-any-return]
    # Every held-out answer is wanted here, not the few that people are shown.
    drift.SHOWN = ALL
    context, started = Watching(gold), time.monotonic()
    result = run_iteration(IterationSpec.from_json(json.dumps(given)), context)
    found = {"result": result, "looks": context.looks, "seconds": round(time.monotonic() - started)}
    done.write_text(json.dumps({"spec": given, "found": found}))
    return found
