"""A training child for tests: a real process that is signalled and killed, forked from a server that has torch loaded.

Loading torch takes seconds; the server does it once for all the children of a test session.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers import artifacts
from workers.context import IterationSpec

SERVER = multiprocessing.get_context("forkserver")
TRAINERS = ["workers.reward.train", "workers.ppo.train", "workers.dpo.train"]
SERVER.set_forkserver_preload(["tests.workers.child", *TRAINERS, "workers.language.tiny", "pyarrow.parquet"])


class Child:
    """A training child and what it has said so far; `environment` says what torchrun would."""

    def __init__(self, spec: IterationSpec, home: Path, **environment: str) -> None:
        address = (home / "spec.json").as_uri()
        artifacts.write_file(address, json.dumps(spec.to_json()).encode())
        self.pipe, theirs = SERVER.Pipe(duplex=False)
        self.process = SERVER.Process(target=_run, args=(address, theirs, environment))
        self.process.start()
        theirs.close()
        self.lines: list[dict[str, Any]] = []

    def end(
        self,
        how: signal.Signals | None = None,
        when: Callable[[dict[str, Any]], bool] = bool,
        whom: "Child | None" = None,
    ) -> int:
        """Read to the end and return the exit status; send the signal `how` at the first line that `when` picks.

        The signal goes to this child, or to `whom`.
        """
        process = (whom or self).process
        with os.fdopen(self.pipe.fileno(), closefd=False) as said:
            for line in said:
                self.lines.append(json.loads(line))
                if how is not None and when(self.lines[-1]):
                    assert process.pid is not None
                    with contextlib.suppress(ProcessLookupError):  # it was faster
                        os.kill(process.pid, how)
                    how = None
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode

    def steps(self, phase: str) -> list[int]:
        """The steps of a phase that it reported."""
        return [line["step"] for line in self.lines if line.get("phase") == phase]

    def checkpoint(self) -> dict[str, str]:
        """What the result names."""
        found: dict[str, str] = self.lines[-1]["result"]["checkpoint"]
        return found


def reached(phase: str, step: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a line reports this step of this phase."""
    return lambda line: (line.get("phase"), line.get("step")) == (phase, step)


def _run(address: str, pipe: Any, environment: dict[str, str]) -> None:
    os.dup2(pipe.fileno(), 1)
    pipe.close()
    os.environ |= environment
    import torch

    from workers.iteration import main

    torch.set_num_threads(1)
    sys.exit(main([address]))
