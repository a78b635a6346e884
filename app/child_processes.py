"""Child processes that end when their parent does, however the parent ends."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(how: signal.Signals) -> Callable[[], None]:
    """Return a `preexec_fn` that makes Linux send `how` to the new process once its parent is gone.

    "Parent" means the *thread* that started the child: start it from a thread that lives as long as the
    process does. On other systems this does nothing, and only an orderly stop ends the children.
    """
    if sys.platform != "linux":
        return _do_nothing
    libc = ctypes.CDLL(None, use_errno=True)  # loaded here, so that the forked child only makes the call
    parent = os.getpid()

    def in_child() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(how), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended between the fork and the call above
            os._exit(1)

    return in_child


def end_when_orphaned() -> None:
    """End this process at once when its parent is gone, on every system and whichever thread of it was the starter."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def stop(process: subprocess.Popen[bytes], how: signal.Signals, seconds: float) -> None:
    """Ask a process to end with the signal `how`; kill it when it has not ended after `seconds`."""
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def runs_with_argument(pid: int, argument: str) -> bool:
    """Say whether `pid` is a live process (no zombie) with `argument` on its command line."""
    if sys.platform == "linux":
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return state != "Z" and os.fsencode(argument) in command
    ps = ["ps", "-o", "state=,command=", "-p", str(pid)]
    found = subprocess.run(ps, check=False, capture_output=True, text=True).stdout.strip()
    return not found.startswith("Z") and argument in found


def _do_nothing() -> None:
    pass
