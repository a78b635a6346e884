"""A policy checkpoint: an adapter in PEFT's format and the card that says where it came from."""

import json
from collections.abc import Mapping
from typing import Any

from workers import artifacts, saved_state
from workers.context import IterationSpec
from workers.language import adapters
from workers.language.model import LanguageModel

POLICY = "policy"
"""The name of the adapter that is being trained."""


def write(
    spec: IterationSpec, lm: LanguageModel, metrics: Mapping[str, float], passed: bool, why: str
) -> dict[str, Any]:
    """Write the policy as it is now to the run's output and return the run's result; the saved states go."""
    gate = {"passed": passed, "why": why}
    parents = spec.to_json()["parents"]
    card = {
        "kind": "policy",
        "made_by": spec.kind,
        "run": spec.run,
        "base_model": spec.base_model,
        "snapshot": spec.snapshot and spec.snapshot.sha256,
        "parents": {kind: one and {"id": one["id"], "sha256": one["sha256"]} for kind, one in parents.items()},
        "seed": spec.seed,
        "hyper": spec.hyper.to_json(),
        "metrics": dict(metrics),
        "gate": gate,
    }
    files = adapters.files(lm, POLICY) | {"card.json": json.dumps(card, indent=1, sort_keys=True).encode()}
    sha256 = artifacts.write(spec.output, "policy", spec.base_model, files)
    saved_state.clear(spec)
    return {"checkpoint": {"url": spec.output, "sha256": sha256}, "metrics": dict(metrics), "gate": gate}
