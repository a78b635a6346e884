"""The processes that train one run together on this machine: started by the first of them, and gone when it is."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from app import child_processes

LOOK = 0.5  # s between two looks at whether all are there
GRACE = 10.0  # s for this process to notice by itself that one is gone
ENDED_WELL = (None, 0, 75)  # still there, done, or stopped with its state saved
LOOPBACK = {"linux": "lo", "darwin": "lo0"}


@contextmanager
def started(command: Sequence[str], count: int, lost: Callable[[], None]) -> Iterator[None]:
    """Run `command` as `count` - 1 more processes while the body runs in this one, which becomes the first of them.

    The environment says who is who, as torchrun's does. They stay in this process's group, so that whoever signals the
    group reaches them all. `lost` is called from another thread when one of them failed and the body does not end soon.
    """
    with TemporaryDirectory(prefix="pairloop-", ignore_cleanup_errors=True) as home:
        os.environ |= _group(count, Path(home) / "meeting")
        peers = _start(command, count)
        over = threading.Event()
        threading.Thread(target=_watch, args=(peers, over, lost), daemon=True, name="peer-watch").start()
        try:
            yield
        finally:
            over.set()
            for peer in peers:
                child_processes.stop(peer, signal.SIGKILL, GRACE)


def _group(count: int, meeting: Path) -> dict[str, str]:
    """What every process of the group finds in its environment."""
    # They meet in a file and talk over the loopback device: no port of theirs can be reached from outside.
    interface = LOOPBACK.get(sys.platform)
    names = {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface} if interface else {}
    threads = str(max(1, (os.cpu_count() or 1) // count))
    group = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    own = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads), "PAIRLOOP_MEETING": meeting.as_uri()}
    return names | group | own


def _start(command: Sequence[str], count: int) -> list[subprocess.Popen[bytes]]:
    # A stop that comes before a new process can handle it waits for it; the process lets it in when it is ready.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return [
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                env={**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                preexec_fn=child_processes.end_with_parent(signal.SIGKILL),
            )
            for rank in range(1, count)
        ]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _watch(peers: Sequence["subprocess.Popen[bytes]"], over: threading.Event, lost: Callable[[], None]) -> None:
    # Gloo tells the others at once that a process is gone; NCCL lets them wait.
    while not over.wait(LOOK):
        if any(peer.poll() not in ENDED_WELL for peer in peers):
            if not over.wait(GRACE):
                lost()
            return
