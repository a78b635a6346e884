"""One training run: `run_iteration(spec, context)`, files in, files out; no database, no HTTP.

`python -m workers.iteration SPEC` is the child process that workers/launch.py starts: one JSON object per line on
standard output, logs on standard error; it exits with 0, with 1 after an error and with 75 if it was told to stop.
"""

import hashlib
import json
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from types import FrameType
from typing import Any, Protocol, Self, TypeVar

from app import child_processes
from app.runs.hyper import HYPER
from app.runs.typed_settings import Hyper
from app.settings import settings
from workers import peers
from workers.world import PeerLost, World, joined

STOPPED = 75
"""Exit status of a run that saved its state and can go on (EX_TEMPFAIL of sysexits.h)."""
SHARED = ("reward", "ppo", "dpo")  # the kinds that several processes may train together


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


def run_iteration(spec: IterationSpec, context: Context) -> dict[str, Any]:
    """Do the whole run and return its result. A run that was stopped or killed goes on where its state was saved.

    Raises Stopped if told to, ValueError or another error with a sentence that says what to do.
    """
    # Imported here because torch takes seconds, and a spec that does not fit should be refused at once.
    if spec.kind == "reward":
        from workers.reward import train as reward

        return reward.run(spec, context)
    if spec.kind == "ppo":
        from workers.ppo import train as ppo

        return ppo.run(spec, context)
    if spec.kind == "dpo":
        from workers.dpo import train as dpo

        return dpo.run(spec, context)
    from workers import evaluate

    return evaluate.run(spec, context)


class _ChildContext:
    """Prints every report as one line of JSON; SIGTERM asks to stop. torchrun's variables say which process this is."""

    def __init__(self) -> None:
        self.rank, self.world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        self._stop = threading.Event()
        self._shown: list[dict[str, str]] = []
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # workers/peers.py holds it back until now

    def _ask_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def report(self, phase: str, step: int, total: int, metrics: Mapping[str, float], text: str = "") -> None:
        at = datetime.now(UTC).isoformat()
        line = {"phase": phase, "step": step, "total": total, "metrics": dict(metrics), "text": text, "at": at}
        _print({"type": "metrics", **line, "resources": _resources()})
        self.flush()

    def samples(self, items: Sequence[Mapping[str, str]]) -> None:
        self._shown = [dict(item) for item in items]

    def flush(self) -> None:
        """Show the answers that wait for the report of their step, so that they are counted to it."""
        if self._shown:
            _print({"type": "samples", "items": self._shown})
        self._shown = []

    def should_stop(self) -> bool:
        return self._stop.is_set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the spec at the given address as a child process."""
    address = (sys.argv[1:] if arguments is None else list(arguments))[0]
    child_processes.end_when_orphaned()
    try:
        context = _ChildContext()
        spec = IterationSpec.from_json(_read(address))
        count = 1 if "RANK" in os.environ or spec.kind not in SHARED else settings.training_processes
        command = [sys.executable, "-m", "workers.iteration", address]
        with peers.started(command, count, _lose_peer) if count > 1 else nullcontext():
            context.world_size = max(count, context.world_size)
            with joined(World(context.rank, context.world_size)):
                result = run_iteration(spec, context)
        context.flush()
    except Stopped:
        return STOPPED
    except Exception as error:
        traceback.print_exc()
        _print({"type": "error", "message": str(error) or f"The run failed with {type(error).__name__}; see its log."})
        return 1
    _print({"type": "result", "result": result})
    return 0


def _resources() -> dict[str, float | str]:
    """Return what this process used so far: the most memory in MB, processor seconds, and the device it works on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak_mb = used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    device = str(cuda.get_device_name()) if cuda is not None and cuda.is_available() else "cpu"
    return {"rss_mb": peak_mb, "cpu_s": used.ru_utime + used.ru_stime, "device": device}


def _lose_peer() -> None:
    _print({"type": "error", "message": str(PeerLost())})
    os._exit(1)


def _read(address: str) -> bytes:
    from workers import artifacts

    return artifacts.read_file(address)


def _print(line: Mapping[str, Any]) -> None:
    if os.environ.get("RANK", "0") != "0":
        return  # the first process speaks for all
    # NaN is no JSON; a figure that is not a number is shown as missing.
    sys.stdout.write(json.dumps(_finite(line), allow_nan=False) + "\n")
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


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


if __name__ == "__main__":
    # By its full name, so that this module exists once and the Stopped raised below it is the one caught here.
    from workers.iteration import main as run_child

    status = run_child()
    if "RANK" in os.environ:
        # Threads of torch.distributed sometimes abort an interpreter that takes itself apart; all is written by now.
        os._exit(status)
    sys.exit(status)
