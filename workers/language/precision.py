"""Which number format this processor multiplies faster, measured once and remembered.

A processor flag does not tell: there are machines with bf16 instructions on which float32 is twice as fast.
"""

import json
import os
import platform
import time
from pathlib import Path

import torch
from torch.nn import functional

ROWS, WIDTH, TRIES = 32, 1024, 8


def fastest(cache: Path) -> torch.dtype:
    """Return torch.bfloat16 or torch.float32, the same at every call on one machine.

    The answer lies in `cache/precision.json`; remove the file to have it measured again.
    """
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    file, key = cache / "precision.json", f"{_processor()}, torch {torch.__version__}"
    try:
        known = json.loads(file.read_text())
        if known["processor"] == key:
            return torch.bfloat16 if known["dtype"] == "bfloat16" else torch.float32
    except (OSError, ValueError, KeyError, TypeError):
        pass
    seconds = {dtype: _seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    dtype = min(seconds, key=lambda candidate: seconds[candidate])
    _remember(file, {"processor": key, "dtype": str(dtype).removeprefix("torch.")})
    return dtype


def _seconds(dtype: torch.dtype) -> float:
    """The least time of several products on one thread, which other programs on the machine disturb little."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows, weight = torch.ones(ROWS, WIDTH, dtype=dtype), torch.ones(WIDTH, WIDTH, dtype=dtype)
        times = []
        for _ in range(TRIES):
            start = time.perf_counter()
            functional.linear(rows, weight)
            times.append(time.perf_counter() - start)
        return min(times)
    finally:
        torch.set_num_threads(threads)


def _remember(file: Path, facts: dict[str, str]) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(facts))
        temporary.replace(file)
    except OSError:
        # A cache nobody may write to is no reason to stop; the next process measures again.
        return


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        facts = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "flags"))][:2]
        return f"{facts[0]} ({len(facts[1].split())} flags)"
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
