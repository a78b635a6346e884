"""One training run: `run_iteration(spec, context)`, files in, files out; no database, no HTTP.

`python -m workers.iteration SPEC` is the child process that workers/launch.py starts: one JSON object per line on
standard output, logs on standard error; it exits with 0, with 1 after an error and with 75 if it was told to stop.
"""

import json
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from app import child_processes
from app.settings import settings
from workers import peers
from workers.context import Context, IterationSpec, Stopped
from workers.world import PeerLost, World, joined

STOPPED = 75
"""Exit status of a run that saved its state and can go on (EX_TEMPFAIL of sysexits.h)."""
SHARED = ("reward", "ppo", "dpo")  # the kinds that several processes may train together


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


if __name__ == "__main__":
    status = main()
    if "RANK" in os.environ:
        # Threads of torch.distributed sometimes abort an interpreter that takes itself apart; all is written by now.
        os._exit(status)
    sys.exit(status)
