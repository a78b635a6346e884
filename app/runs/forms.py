"""The forms that start runs: their fields come from the dataclasses in hyper.py, and so do their parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from app.languages import _
from app.models import Project
from app.runs.hyper import HYPER
from app.runs.params import usual
from app.runs.steps import AFTER

STARTED = ("chain", "sample", "reward", "ppo", "dpo", "evaluate")
STEPS = {"chain": tuple(AFTER), "sample": (), **{kind: (kind,) for kind in HYPER}}
"""Whose settings each form shows."""
PRESETS = tuple(next(iter(HYPER.values())).presets)


@dataclass(frozen=True)
class Setting:
    """One field of a form; left empty, it stays what the preset says."""

    name: str
    label: str
    usual: str
    description: str
    choices: tuple[str, ...]
    whole: bool


def settings_of(kind: str, project: Project) -> list[Setting]:
    """What can be set in a training run of this kind, with what it is where nothing is chosen."""
    unchosen = usual(kind, project)
    sentences = {one.name: one.metadata["description"] for one in fields(HYPER[kind])}
    return [
        Setting(
            name=f"{kind}.{one.name}",
            label=_label(one.name),
            usual=str(getattr(unchosen, one.name)),
            description=_(sentences[one.name]),
            choices=one.metadata.get("choices", ()),
            whole=one.type is int,
        )
        for one in fields(HYPER[kind])
    ]


def _label(name: str) -> str:
    words = name.replace("_", " ").capitalize()
    for short in ("KL", "EOS", "GAE", "RLOO", "LoRA"):
        words = re.sub(rf"\b{short}\b", short, words, flags=re.IGNORECASE)
    return words


def params_of(kind: str, typed: Mapping[str, str]) -> dict[str, Any]:
    """The parameters that a filled form asks for; what is wrong in them is for `params.checked` to say."""
    params: dict[str, Any] = {}
    if typed.get("force"):
        params["force"] = True
    if (preset := typed.get("preset", "")) not in ("", "standard"):
        params["preset"] = preset
    for name in ("seed", "comparisons"):
        if text := typed.get(name, "").strip():
            params[name] = _number(text)
    for name in ("reward", "checkpoint"):
        if text := typed.get(name, "").strip():
            params[name] = text
    hyper = {step: found for step in STEPS.get(kind, ()) if (found := _hyper(step, typed))}
    if hyper:
        params["hyper"] = hyper if kind == "chain" else hyper[kind]
    return params


def typed_of(kind: str, params: Mapping[str, Any]) -> dict[str, str]:
    """A form filled in with a run's parameters, for one that is to be nearly the same."""
    chosen = params.get("hyper", {})
    by_step = chosen if kind == "chain" else {kind: chosen}
    hyper = {f"{step}.{name}": value for step, found in by_step.items() for name, value in found.items()}
    plain = {name: params[name] for name in ("preset", "seed", "comparisons", "reward", "checkpoint") if name in params}
    force = {"force": "yes"} if params.get("force") else {}
    return {name: str(value) for name, value in {**plain, **hyper}.items()} | force


def _hyper(step: str, typed: Mapping[str, str]) -> dict[str, Any]:
    chosen = {one: typed.get(f"{step}.{one.name}", "").strip() for one in fields(HYPER[step])}
    return {one.name: text if "choices" in one.metadata else _number(text) for one, text in chosen.items() if text}


def _number(text: str) -> int | float | str:
    """The number that a person typed; anything else is returned as it is, so that the check can show it."""
    for read in (int, float):
        try:
            return read(text.replace(",", ".") if read is float else text)
        except ValueError:
            continue
    return text
