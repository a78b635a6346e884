"""Policy checkpoints as adapters of a running model: fetched and checked when first asked for, the last few kept."""

import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from workers import artifacts
from workers.artifacts import ArtifactDamaged
from workers.language import adapters
from workers.language.adapters import AdapterUnfit
from workers.language.model import LanguageModel

KEPT = 4


class CheckpointRefused(Exception):
    """This checkpoint cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """Which checkpoint, where it lies, and the SHA-256 of its directory."""

    id: str
    url: str
    sha256: str


def check_store(checkpoint: Checkpoint, root: str) -> None:
    """Raise CheckpointRefused unless the checkpoint lies below the store `root`."""
    if not artifacts.is_below(checkpoint.url, root):
        raise CheckpointRefused(
            f"Checkpoint {checkpoint.id} does not lie in this engine's store. Start the engine with the same "
            "PAIRLOOP_ARTIFACTS_URL (or PAIRLOOP_DATA_DIR) as the web process."
        )


class Checkpoints:
    """The adapters of `lm` by SHA-256, from below the store `root` alone."""

    def __init__(self, lm: LanguageModel, root: str, cache: Path) -> None:
        self._lm = lm
        self._root = root
        self._cache = cache
        self._used: OrderedDict[str, int] = OrderedDict()  # adapter name -> how many requests use it, oldest first
        self._lock = threading.Lock()

    def borrow(self, checkpoint: Checkpoint | None) -> str | None:
        """Return the adapter's name, loading it if need be; it stays until `give_back`. None is the base model.

        Raises CheckpointRefused.
        """
        if checkpoint is None:
            return None
        with self._lock:
            if checkpoint.sha256 not in self._used:
                self._load(checkpoint)
                self._used[checkpoint.sha256] = 0
            self._used[checkpoint.sha256] += 1
            self._used.move_to_end(checkpoint.sha256)
            self._forget_oldest(keep={checkpoint.sha256})
        return checkpoint.sha256

    def give_back(self, name: str | None) -> None:
        """Say that a request no longer uses the adapter `borrow` returned."""
        if name is not None:
            with self._lock:
                self._used[name] -= 1

    def _load(self, checkpoint: Checkpoint) -> None:
        check_store(checkpoint, self._root)
        try:
            manifest = artifacts.read_manifest(checkpoint.url, checkpoint.sha256)
            if (manifest["kind"], manifest["base_model"]) != ("policy", self._lm.name):
                raise CheckpointRefused(
                    f"Checkpoint {checkpoint.id} is a {manifest['kind']} of {manifest['base_model']}; this engine "
                    f"needs a policy of {self._lm.name}."
                )
            files = artifacts.read(checkpoint.url, checkpoint.sha256, self._cache)
            adapters.attach(self._lm, checkpoint.sha256, files)
        except (ArtifactDamaged, AdapterUnfit) as error:
            raise CheckpointRefused(f"Checkpoint {checkpoint.id} cannot be used: {error}") from error

    def _forget_oldest(self, keep: Collection[str]) -> None:
        idle = [name for name, users in self._used.items() if users == 0 and name not in keep]
        for name in idle[: max(0, len(self._used) - KEPT)]:
            del self._used[name]
            adapters.detach(self._lm, name)
