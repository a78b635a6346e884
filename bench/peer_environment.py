"""Environments of their own for peers that cannot live in ours, made once and kept in the cache."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.settings import settings

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Child:
    """What a program printed last, as JSON, and the most memory it held, in GB."""

    found: Any
    peak_gb: float
    seconds: float


def python_with(*packages: str) -> Path:
    """The Python of an environment with these packages and our version of torch, its build for the CPU if there is one.

    It lies in the cache, so that only the first measurement waits for it.
    """
    name = "-".join(re.sub(r"[^\w.]+", "", package) for package in packages)
    home = settings.cache_dir / "peers" / name
    python, complete = home / "bin" / "python", home / "complete"
    if complete.exists():
        return python
    pinned = re.search(r"^torch==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    torch = f"torch=={pinned[1]}+cpu"
    if subprocess.run([*install, torch], stderr=subprocess.DEVNULL, check=False).returncode:
        torch = f"torch=={pinned[1]}"
    subprocess.run([*install, torch, *packages], check=True)
    complete.touch()
    return python


def run(command: list[str]) -> Child:
    """Run a program to its end; its last line of standard output is JSON."""
    begun = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": ""})
    assert child.stdout is not None
    said = child.stdout.read().splitlines()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}.")
    return Child(json.loads(said[-1]), usage.ru_maxrss / 1e6, time.perf_counter() - begun)
