"""Sets up .venv for `make run` and `make test` with nothing but Python's standard library.

    python3 setup_environment.py run     what Pairloop needs to run
    python3 setup_environment.py test    that, the development tools, and a browser for the tests

Versions come from constraints.txt. An installation that was cut off is repaired by the next one.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
STAMP = VENV / "installed"  # written last; its lines are the fingerprint of what was installed, and the extras
LOG = VENV / "setup.log"

EXTRAS = {"run": {"embedded", "worker"}, "test": {"dev", "embedded", "worker"}}
DOWNLOADS = {"run": 150, "test": 300}  # MB without torch, about
TORCH_FOR_CPU = 190  # MB to download, about
TORCH_WITH_CUDA = (2.7, 7)  # GB to download and GB on disk, about: torch and the NVIDIA libraries it asks for
BROWSER = 200  # MB, at most about: with the libraries that a bare machine lacks
OLDEST, TOO_NEW = (3, 11), (3, 15)  # torch has wheels for the versions between
NVIDIA_TRACES = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/usr/lib/wsl/lib/nvidia-smi")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main() -> None:
    profile = sys.argv[1] if len(sys.argv) == 2 else ""
    if profile not in EXTRAS:
        sys.exit("Say what to set up: python3 setup_environment.py run, or python3 setup_environment.py test")
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        sys.exit(f"Pairloop needs Python 3.11 to 3.14; {sys.executable} is {platform.python_version()}.")
    directory = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)  # a second `make` waits here until the first is done
    if not is_installed(EXTRAS[profile]):
        install(profile)
    if profile == "test":
        provide_browser()


def is_installed(extras: set[str]) -> bool:
    """Whether .venv holds these extras (or more) of exactly this checkout."""
    lines = STAMP.read_text().splitlines() if STAMP.exists() else []
    return lines[:1] == [fingerprint()] and extras <= set(lines[1:]) and works()


def fingerprint() -> str:
    """Changes with the dependencies, and when the directory was moved (commands in .venv/bin name their path)."""
    import tomllib  # not at the top: an older Python shall get as far as the sentence in main()

    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = [str(ROOT), str(pyproject["build-system"]), str(pyproject["project"])]
    parts += [(ROOT / name).read_text() for name in ("constraints.txt", "hatch_build.py")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def works() -> bool:
    """Whether .venv is a whole environment, made at this place by a Python that is new enough."""
    check = f"import pip, sys; sys.exit(sys.version_info < {OLDEST})"
    script = VENV / "bin" / "pip"
    return (
        os.path.exists(PYTHON)
        and script.exists()
        and str(VENV) in script.read_text()
        and succeeds([PYTHON, "-c", check])
    )


def install(profile: str) -> None:
    extras = EXTRAS[profile]
    if STAMP.exists():
        lines = STAMP.read_text().splitlines()
        extras = extras | set(lines[1:])  # `make run` after `make test` keeps the development tools
        STAMP.unlink()
    say(f"Setting up {VENV}: about {DOWNLOADS[profile]} MB to download (less where pip's cache has it), and PyTorch.")
    make_virtual_environment()
    remove_half_installed()
    install_small_torch()
    say("Installing everything else; pip names the size of each download:")
    pip("install", "--constraint", "constraints.txt", "--editable", f".[{','.join(sorted(extras))}]")
    STAMP.write_text("\n".join([fingerprint(), *sorted(extras), ""]))
    say("Installed.")


def make_virtual_environment() -> None:
    if works():
        return
    if not succeeds([sys.executable, "-c", "import ensurepip"]):  # Debian and Ubuntu package it apart
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        if not install_with_apt(package):
            sys.exit(f"This Python cannot make virtual environments. Install {package}, then run the same command.")
    if not succeeds([sys.executable, "-m", "venv", "--clear", str(VENV)]):
        sys.exit(f"{sys.executable} -m venv {VENV} failed; run it by hand to see why.")


def remove_half_installed() -> None:
    """Make pip forget the package it was writing when it was cut off, so that it writes it again.

    pip adds its own INSTALLER file to a package's RECORD last of all.
    """
    for packages in VENV.glob("lib/python*/site-packages"):
        for metadata in packages.glob("*.dist-info"):
            record = metadata / "RECORD"
            if not record.exists() or ".dist-info/INSTALLER," not in record.read_text():
                shutil.rmtree(metadata)
        for leftover in packages.glob("~*"):  # the old version of a package that was being replaced
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def install_small_torch() -> None:
    """On Linux without an NVIDIA GPU take PyTorch's build for the CPU wherever pip can find one."""
    match = re.search(r"^torch==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    if match is None:
        sys.exit("constraints.txt does not say which version of torch to install.")
    if any(VENV.glob(f"lib/python*/site-packages/torch-{match[1]}*.dist-info")):
        return
    if sys.platform != "linux":
        say("PyTorch: about 100 MB.")
        return
    if any(os.path.exists(trace) for trace in NVIDIA_TRACES):
        say(f"PyTorch: for this machine's NVIDIA GPU the build with CUDA, about {TORCH_WITH_CUDA[0]} GB to download.")
        return
    say(f"PyTorch: looking for the build for the CPU, about {TORCH_FOR_CPU} MB ...")
    if not pip("install", "--no-deps", f"torch=={match[1]}+cpu", may_be_missing=True):
        announce_large_torch()


def announce_large_torch() -> None:
    download, on_disk = TORCH_WITH_CUDA
    say(
        f"PyTorch: its ordinary build for Linux brings CUDA: {download} GB to download, {on_disk} GB on disk.\n"
        "  Without an NVIDIA GPU the build for the CPU does the same in 0.2 GB. pip finds it when PIP_EXTRA_INDEX_URL\n"
        "  is the address that PyTorch's installation page gives for the CPU, or PIP_FIND_LINKS a directory with the\n"
        "  wheel. To use that, stop here with Ctrl-C, set one of the two, and run the same command again."
    )
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < on_disk + download:
        sys.exit(f"Only {free:.1f} GB are free on this disk, so nothing was downloaded.")


def provide_browser() -> None:
    """Find, or install, the Chromium that the browser tests drive."""
    if any(works_as_browser(name) for name in BROWSERS):
        return
    say(f"The tests drive a browser and none was found. Installing Chromium: up to {BROWSER} MB to download.")
    if install_with_apt("chromium") and works_as_browser("chromium"):
        return
    playwright = [PYTHON, "-m", "playwright", "install"]
    for arguments in (["--with-deps", "chromium"], ["chromium"]):  # the first asks sudo for the system's libraries
        if subprocess.run([*playwright, *arguments], check=False).returncode == 0:
            return
    sys.exit("No browser could be installed. Install Chromium or Chrome, then run the same command again.")


def works_as_browser(name: str) -> bool:
    """Whether the command starts at all: some systems put a place-holder where the browser should be."""
    found = shutil.which(name)
    return found is not None and succeeds([found, "--version", "--no-sandbox"])


def install_with_apt(package: str) -> bool:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    say(f"Installing {package} with apt-get ...")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", package]
    return succeeds(["apt-get", "update", "-q"]) and succeeds(install)


def pip(*arguments: str, may_be_missing: bool = False) -> bool:
    """Run pip, showing only what it downloads; everything it says goes to .venv/setup.log.

    Returns False where `may_be_missing` and no such package can be had; ends the program on any other failure.
    """
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    said: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        with LOG.open("a") as log:
            for line in process.stdout:
                log.write(line)
                said.append(line)
                if line.lstrip().startswith("Downloading") and ".metadata" not in line:
                    say("  " + line.strip())
                if line.startswith("Installing collected packages"):
                    say("  Unpacking ...")
    if process.returncode == 0:
        return True
    if may_be_missing and any("No matching distribution found" in line for line in said):
        return False
    sys.stdout.write("".join(said[-15:]))
    sys.exit(f"pip failed; {LOG} has all it said. Run the same command again: it goes on from here.")


def succeeds(command: Sequence[str]) -> bool:
    nothing = subprocess.DEVNULL
    return subprocess.run(command, check=False, stdin=nothing, stdout=nothing, stderr=nothing).returncode == 0


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. Run the same command again: it goes on from here.")
