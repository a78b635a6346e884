"""What the settings of every kind of training run share: presets, reading from JSON, ranges."""

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self

TINY = "tiny"


@dataclass(frozen=True, kw_only=True)
class Hyper:
    """What every kind of training run shares: reading, checking and writing its settings."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {"standard": {}}
    tiny: ClassVar[dict[str, Any]] = {}

    @classmethod
    def preset(cls, base_model: str, name: str = "standard") -> Self:
        """Return the defaults for a base model: the named preset, or what `tiny` needs to finish in seconds."""
        if name not in cls.presets:
            raise ValueError(f"There is no preset {name!r}; choose one of {', '.join(cls.presets)}.")
        return replace(cls(), **(cls.tiny if base_model == TINY else cls.presets[name]))

    @classmethod
    def from_json(cls, values: Mapping[str, Any], base_model: str) -> Self:
        """Return the base model's defaults with `values` in their place, checked.

        Raises ValueError with a sentence for an unknown name, a wrong type or a number out of range.
        """
        known = {f.name: f for f in fields(cls)}
        for name in values:
            if name not in known:
                raise ValueError(f"There is no setting {name!r}; the settings are {', '.join(known)}.")
        checked = {name: _typed(known[name], value) for name, value in values.items()}
        hyper = replace(cls.preset(base_model), **checked)
        hyper.validate()
        return hyper

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON object that `from_json` reads back."""
        return asdict(self)

    def validate(self) -> None:
        """Raise ValueError with a sentence that says which setting is out of its range."""
        for one in fields(self):
            value = getattr(self, one.name)
            choices = one.metadata.get("choices")
            if choices is not None:
                if value not in choices:
                    raise ValueError(f"{one.name} must be one of {', '.join(choices)}; it is {value!r}.")
            elif not one.metadata["low"] <= value <= one.metadata["high"]:
                low, high = one.metadata["low"], one.metadata["high"]
                raise ValueError(f"{one.name} must lie between {low:g} and {high:g}; it is {value:g}.")


def _typed(one: Field[Any], value: Any) -> Any:
    """Accept a number where a number is due (a whole one for an int field) and text where text is due."""
    if one.type is str:
        if isinstance(value, str):
            return value
        raise ValueError(f"{one.name} must be text; it is {value!r}.")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{one.name} must be a number; it is {value!r}.")
    if one.type is int and value != int(value):
        raise ValueError(f"{one.name} must be a whole number; it is {value!r}.")
    return int(value) if one.type is int else float(value)
