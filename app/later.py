"""Work that waits for the language model, done once the request's transaction has ended: it holds no connection."""

from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Later(Response):
    """A route returns this instead of its response: `work` makes the response once the transaction is committed.

    What it raises becomes an error page like anything else. It opens a session of its own (`Opener`) for what it keeps.
    """

    def __init__(self, work: Callable[[], Response]) -> None:
        super().__init__()
        self.work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await run_in_threadpool(self.work)
        await response(scope, receive, send)
