"""What the processes of one training run do together: share work, gather what came out, add up gradients.

Each holds the whole model and takes every step; only the work within a step is shared. Losses are divided by the counts
of the whole step, so the processes' gradients add up to the gradient of the step, whatever the number of processes, but
for rounding: a sum in another order, batches of another width. A process alone shares with nobody and never imports
torch.distributed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for another one that lives but does not answer."""


class PeerLost(Exception):
    """Another process of this run ended before its work was done, most likely because memory ran out. The run's log may
    say more. Train with fewer processes, or on a machine with more memory."""

    def __init__(self) -> None:
        super().__init__(" ".join(str(self.__doc__).split()))


@dataclass(frozen=True)
class World:
    """One process among the `size` of a run. All must call `gather`, `any`, `first` and `add` in the same order."""

    rank: int = 0
    size: int = 1

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's stretch of the items; `gather` puts the stretches together again."""
        return items[len(items) * self.rank // self.size : len(items) * (self.rank + 1) // self.size]

    def deal(self, items: Sequence[T]) -> Sequence[T]:
        """Return every size-th item from this process's own on, so that items ordered by length are shared fairly."""
        return items[self.rank :: self.size]

    def turns(self, items: Sequence[T]) -> list[Sequence[T]]:
        """Return the items in groups to be dealt, one item for each process and at the end perhaps not for all."""
        return [items[start : start + self.size] for start in range(0, len(items), self.size)]

    def gather(self, own: Sequence[T]) -> list[T]:
        """Return what all processes hold, in the order of their ranks."""
        if self.size == 1:
            return list(own)
        from torch import distributed

        parts: list[list[T]] = [[] for _ in range(self.size)]
        with _listening():
            distributed.all_gather_object(parts, list(own))
        return [one for part in parts for one in part]

    def any(self, flag: bool) -> bool:
        """Say whether the flag is set in any process."""
        return any(self.gather([flag]))

    def first(self, make: Callable[[], T]) -> T:
        """Let the first process alone make something, such as a file; return what it made in all of them.

        So they take the same decision even where processors of different types round differently.
        """
        if self.size == 1:
            return make()
        from torch import distributed

        made = [make() if self.rank == 0 else None]
        with _listening():
            distributed.broadcast_object_list(made, src=0)
        return cast(T, made[0])

    def add(self, tensors: Sequence["Tensor"]) -> None:
        """Put into each tensor its sum over all processes, the same bits everywhere; all have one dtype and device."""
        if self.size == 1 or not tensors:
            return
        import torch
        from torch import distributed

        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        with _listening():
            distributed.all_reduce(flat)
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(part.view(tensor.shape))

    def add_gradients(self, parameters: Sequence["nn.Parameter"]) -> None:
        """Put into each parameter the sum of its gradients; a process that learned nothing adds nothing."""
        if self.size == 1:
            return
        import torch

        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.add([parameter.grad for parameter in parameters if parameter.grad is not None])


ALONE = World()


@contextmanager
def joined(world: World) -> Iterator[None]:
    """Meet the other processes where the environment says, by workers/peers.py or torchrun; each takes its own GPU.

    Raises ValueError with a sentence if there are GPUs, but too few.
    """
    if world.size == 1:
        yield
        return
    import torch
    from torch import distributed

    backend = "gloo"
    if torch.cuda.is_available():
        here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", world.size)), torch.cuda.device_count()
        if here > gpus:
            raise ValueError(
                f"{here} processes shall train on this machine, which has {gpus} GPU(s). Set "
                "PAIRLOOP_TRAINING_PROCESSES, or torchrun's --nproc-per-node, to the number of GPUs."
            )
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", world.rank)))
        backend = "cpu:gloo,cuda:nccl"
    with _listening():
        meeting = os.environ.get("PAIRLOOP_MEETING", "env://")
        distributed.init_process_group(backend, meeting, PATIENCE, rank=world.rank, world_size=world.size)
    yield
    # Not after an error: to part from a process that is gone may take for ever.
    distributed.destroy_process_group()


@contextmanager
def _listening() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerLost from error
