"""What is noted of a run beside its result: by which code, where, what each phase took, and how it was interrupted.

    {"code": "0.1.0 (7e5d858)", "machine": {"name", "system", "cores", "device"},
     "phases": {"ppo": {"seconds", "steps"}}, "peak_mb", "cpu_s",
     "interruptions": [{"at", "why", "phase", "step"}]}

Estimates of later runs are made of these (app/runs/estimates.py).
"""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from app import __version__
from app.models import Run, now
from app.templating import ROOT

MOST_INTERRUPTIONS = 20


@cache
def code() -> str:
    """The version of this code, with its commit where it runs from a checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__} ({found})"


@cache
def machine() -> dict[str, Any]:
    """The machine that this process works on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"name": platform.node(), "system": f"{platform.system()} {platform.machine()}", "cores": cores}


def begin(run: Run) -> None:
    """A worker takes the run up: from here on time counts, and what the child used before stays counted."""
    known = run.facts
    run.facts = {
        **known,
        "code": code(),
        "machine": {**known.get("machine", {}), **machine()},
        "counted_until": now().isoformat(),
        "cpu_before": known.get("cpu_s", 0.0),
    }


def interrupted(run: Run, why: str) -> None:
    """The work was broken off; where it goes on is noted at its next report."""
    before = run.facts.get("interruptions", [])[-MOST_INTERRUPTIONS + 1 :]
    run.facts = {**run.facts, "interruptions": [*before, {"at": now().isoformat(), "why": why}]}


def reported(run: Run, line: Mapping[str, Any]) -> None:
    """Count a report of the training child: its time goes to the phase it speaks of."""
    known = {**run.facts}
    phases = {name: {**one} for name, one in known.get("phases", {}).items()}
    phase = phases.setdefault(str(line["phase"]), {"seconds": 0.0, "steps": 0})
    at = datetime.fromisoformat(line["at"]) if "at" in line else now()
    since = datetime.fromisoformat(known["counted_until"]) if "counted_until" in known else at
    phase["seconds"] = round(phase["seconds"] + max(0.0, (at - since).total_seconds()), 3)
    phase["steps"] = max(phase["steps"], int(line["step"]))
    used = line.get("resources") or {}
    known |= {"phases": phases, "counted_until": at.isoformat()}
    if used:
        known["peak_mb"] = max(known.get("peak_mb", 0.0), round(float(used["rss_mb"]), 1))
        known["cpu_s"] = round(known.get("cpu_before", 0.0) + float(used["cpu_s"]), 2)
        known["machine"] = {**known.get("machine", {}), "device": str(used.get("device", "cpu"))}
    run.facts = known | {"interruptions": _gone_on(known.get("interruptions", []), line)}


def worked(run: Run, phase: str, seconds: float, steps: int) -> None:
    """Count work that no training child reported: so many steps of a phase took so long."""
    phases = {**run.facts.get("phases", {})}
    known = phases.get(phase, {"seconds": 0.0, "steps": 0})
    phases[phase] = {"seconds": round(known["seconds"] + seconds, 3), "steps": known["steps"] + steps}
    run.facts = {**run.facts, "phases": phases}


def _gone_on(interruptions: list[dict[str, Any]], line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The first report after an interruption says where the run was taken up again."""
    here = {"phase": str(line["phase"]), "step": int(line["step"])}
    return [one if "step" in one else {**one, **here} for one in interruptions]
