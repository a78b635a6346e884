"""Two transactions at the same moment, the same way each time."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from sqlalchemy.orm import Session

from app.database import open_session


def while_open(first: Callable[[Session], object], second: Callable[[Session], object]) -> None:
    """Run `second` while the transaction of `first` is still open, then commit both; raises what `second` raised.

    Where the product takes a lock, `second` waits for the commit and must then see what `first` did. Where it takes
    none, `second` is done within the half second that it is given, on what was true before.
    """

    def own() -> None:
        with open_session() as session:
            second(session)

    with ThreadPoolExecutor(1) as thread:
        with open_session() as session:
            first(session)
            other = thread.submit(own)
            wait([other], timeout=0.5)
        other.result()
