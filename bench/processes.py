"""What processes weigh and how long they have worked, read from Linux's /proc."""

import os
from pathlib import Path

PEAK = "VmHWM:"
"""The most memory that a process ever held in RAM, which is what a limit would have to allow."""


def peak_mb(parent: int, words: str) -> float:
    """Peak memory in MB of the heaviest descendant of `parent` whose command line has these words; 0 where none is."""
    return max((_peak(pid) for pid in descendants(parent) if words in _command(pid)), default=0.0)


def processor_seconds(parent: int) -> float:
    """How long the processor has worked for a process and all below it, what ended and was waited for included."""
    return sum(_worked(pid) for pid in [parent, *descendants(parent)])


def descendants(parent: int) -> list[int]:
    """Every process below `parent`."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue  # it ended while we looked
    found = [parent]
    for pid in found:
        found += [child for child, its_parent in parents.items() if its_parent == pid]
    return found[1:]


def _worked(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _peak(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(PEAK)), 0.0)
