"""What a live page is sent: its rendered parts, again whenever the project's runs change them (static/live.js)."""

import asyncio
from collections.abc import AsyncIterator, Callable

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import ServerSentEvent
from sqlalchemy.orm import Session

from app.accounts.access import Access, find_project
from app.database import open_session
from app.errors import DomainError, NotFound
from app.models import User
from app.runs import live

PAUSE = 1.0  # s between two renderings for one open page


async def events(
    access: Access, needed: str | None, render: Callable[[Session, Access], dict[str, str]]
) -> AsyncIterator[ServerSentEvent]:
    """The parts of a page that changed, rendered in short transactions of their own; `end` closes the stream.

    `needed` is the role that the page asks for, None where everybody who sees the project may look.
    """
    slug, person_id, sent = access.project.slug, access.person.id, dict[str, str]()

    def rendered() -> dict[str, str]:
        with open_session() as session:
            # Asked anew each time: who loses the role sees nothing more.
            person = session.get(User, person_id)
            if person is None or person.deactivated_at is not None:
                raise NotFound
            return render(session, find_project(session, person, slug, needed))

    async for _change in live.changes(access.project.id):
        try:
            parts = await run_in_threadpool(rendered)
        except DomainError:
            yield ServerSentEvent(raw_data="", event="end")
            return
        for name, html in parts.items():
            if sent.get(name) != html:
                yield ServerSentEvent(raw_data=html, event=name)
        if "end" in parts:
            return
        sent = parts
        await asyncio.sleep(PAUSE)
