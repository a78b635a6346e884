"""What a training run is given: its spec, where it reports to, and what tells it to stop."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, Self, TypeVar

from app.runs.hyper import HYPER
from app.runs.typed_settings import Hyper


class Stopped(Exception):
    """The run was told to stop and has saved its state; start it again to go on."""


@dataclass(frozen=True)
class Source:
    """A file or directory by address and SHA-256."""

    url: str
    sha256: str


@dataclass(frozen=True)
class Parent:
    """A checkpoint by id, address and SHA-256."""

    id: str
    url: str
    sha256: str


@dataclass(frozen=True)
class Parents:
    """What a run starts from: the reward model PPO follows, the promoted policy it starts from or is compared with."""

    reward: Parent | None = None
    policy: Parent | None = None


@dataclass(frozen=True)
class IterationSpec:
    """Everything a training run depends on; the same spec gives the same checkpoint."""

    run: str
    kind: str
    base_model: str
    seed: int
    snapshot: Source | None
    prompts: Source | None
    parents: Parents
    candidate: Parent | None
    work: str
    output: str
    hyper: Hyper

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a spec strictly. Raises ValueError with a sentence that names what does not fit."""
        try:
            given = json.loads(text)
        except ValueError as error:
            raise ValueError(f"The run's specification is not JSON: {error}.") from None
        names = set(cls.__dataclass_fields__)
        given = _object(given, "The run's specification")
        if set(given) != names:
            wrong = ", ".join(sorted(set(given) ^ names))
            raise ValueError(f"The run's specification must have exactly the fields of IterationSpec; check {wrong}.")
        for name in ("run", "kind", "base_model", "work", "output"):
            if not isinstance(given[name], str) or not given[name]:
                raise ValueError(f"{name} must be text; it is {given[name]!r}.")
        if given["kind"] not in HYPER:
            raise ValueError(f"kind must be one of {', '.join(HYPER)}; it is {given['kind']!r}.")
        if not isinstance(given["seed"], int) or isinstance(given["seed"], bool) or given["seed"] < 0:
            raise ValueError(f"seed must be a whole number of at least 0; it is {given['seed']!r}.")
        parents = _object(given["parents"], "parents")
        if unknown := set(parents) - {"reward", "policy"}:
            raise ValueError(f"parents may hold reward and policy, not {', '.join(sorted(unknown))}.")
        spec = cls(
            **{name: given[name] for name in ("run", "kind", "base_model", "seed", "work", "output")},
            snapshot=_reference(Source, given["snapshot"], "snapshot"),
            prompts=_reference(Source, given["prompts"], "prompts"),
            parents=Parents(
                reward=_reference(Parent, parents.get("reward"), "parents.reward"),
                policy=_reference(Parent, parents.get("policy"), "parents.policy"),
            ),
            candidate=_reference(Parent, given["candidate"], "candidate"),
            hyper=HYPER[given["kind"]].from_json(_object(given["hyper"], "hyper"), given["base_model"]),
        )
        spec._check_needs()
        return spec

    def to_json(self) -> dict[str, Any]:
        """Return the spec as the JSON object that `from_json` reads."""
        return asdict(self)

    def fingerprint(self) -> str:
        """Return a hash of the spec: a saved state belongs to this very run or is ignored."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def _check_needs(self) -> None:
        needs: dict[str, Source | Parent | None] = {"prompts": self.prompts, "parents.reward": self.parents.reward}
        if self.kind in ("reward", "dpo"):
            needs = {"snapshot": self.snapshot}
        elif self.kind == "evaluate":
            needs["candidate"] = self.candidate
        for name, value in needs.items():
            if value is None:
                raise ValueError(f"A run of kind {self.kind} needs {name}.")


Reference = TypeVar("Reference", Source, Parent)


class Context(Protocol):
    """Where a run reports to and what tells it to stop."""

    rank: int
    world_size: int

    def report(self, phase: str, step: int, total: int, metrics: Mapping[str, float], text: str = "") -> None:
        """Say that `step` of `total` of a phase is done, with figures and perhaps a sentence."""

    def samples(self, items: Sequence[Mapping[str, str]]) -> None:
        """Show some answers: objects with `prompt`, `before` and `after`."""

    def should_stop(self) -> bool:
        """Say whether the run should save its state and raise Stopped."""


@dataclass
class RecordingContext:
    """Keeps what is reported, in the caller's process; stops after a number of reports where one is given."""

    rank: int = 0
    world_size: int = 1
    stop_after: int | None = None
    reports: list[tuple[str, int, int, dict[str, float]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """What was said with each report, [len(reports)]."""
    shown: list[Mapping[str, str]] = field(default_factory=list)

    def report(self, phase: str, step: int, total: int, metrics: Mapping[str, float], text: str = "") -> None:
        """Keep it."""
        self.reports.append((phase, step, total, dict(metrics)))
        self.texts.append(text)

    def samples(self, items: Sequence[Mapping[str, str]]) -> None:
        """Keep them in the place of earlier ones."""
        self.shown = list(items)

    def should_stop(self) -> bool:
        """Stop once as many reports were made."""
        return self.stop_after is not None and len(self.reports) >= self.stop_after


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a JSON object; it is {value!r}.")
    return value


def _reference(kind: type[Reference], value: Any, name: str) -> Reference | None:
    if value is None:
        return None
    fields = set(kind.__dataclass_fields__)
    value = _object(value, name)
    if set(value) != fields or not all(isinstance(one, str) and one for one in value.values()):
        raise ValueError(f"{name} must be null or have {', '.join(sorted(fields))}, each text; it is {value!r}.")
    return kind(**value)
