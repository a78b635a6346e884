"""Work on batches by threads beside the one that fetches them; Arrow, zstd and the database driver run side by side."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(make: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """What `make` makes of each item, in the items' order; one more than there are threads is under way at most."""
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[R]] = deque()
        for item in items:
            under_way.append(pool.submit(make, item))
            if len(under_way) > threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
