"""A run's state between its steps: written whole or not at all, in two places by turns; one is always intact."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor
from torch.optim import Optimizer

from workers import artifacts
from workers.context import IterationSpec

PLACES = 2


class SavedState(NamedTuple):
    """What a run needs to go on: `number` counts the saves, `facts` is JSON, `tensors` are named."""

    number: int
    facts: dict[str, Any]
    tensors: dict[str, Tensor]


def save(spec: IterationSpec, number: int, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the state in place of the one before the last. `number` must grow from save to save."""
    files = {
        "state.json": json.dumps({"spec": spec.fingerprint(), "number": number, "facts": dict(facts)}).encode(),
        "tensors.safetensors": save_safetensors(
            {name: one.detach().cpu().contiguous() for name, one in tensors.items()}
        ),
    }
    artifacts.write(_place(spec, number), "state", spec.base_model, files)


def newest(spec: IterationSpec) -> SavedState | None:
    """Return the newest intact state that this very spec saved, or None. Damaged ones are passed over."""
    found = [state for place in range(PLACES) if (state := _read(spec, place)) is not None]
    return max(found, key=lambda state: state.number, default=None)


def clear(spec: IterationSpec) -> None:
    """Remove the saved states; the run's checkpoint is written."""
    for place in range(PLACES):
        artifacts.delete(_place(spec, place))


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """Return an Adam optimiser's state as named tensors."""
    state = optimiser.state_dict()["state"]
    return {f"optimiser.{index}.{name}": value for index, one in state.items() for name, value in one.items()}


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` returned into an optimiser over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _read(spec: IterationSpec, place: int) -> SavedState | None:
    try:
        files = artifacts.read(_place(spec, place))
    except artifacts.ArtifactDamaged:
        return None
    state = json.loads(files["state.json"])
    if state["spec"] != spec.fingerprint():
        return None
    return SavedState(state["number"], state["facts"], load_safetensors(files["tensors.safetensors"]))


def _place(spec: IterationSpec, number: int) -> str:
    return f"{spec.work.rstrip('/')}/state-{number % PLACES}"
