"""Features for responses that came without: brought in, given as feedback, said in a chat, or older than features."""

import logging
from typing import Any

import httpx
from sqlalchemy import update
from sqlalchemy.orm import Session

from app import engine
from app.database import open_session
from app.errors import BadInput, Unavailable
from app.live_head import heads
from app.models import Project, Response
from workers.live_head import answers

AT_ONCE = 16
"""Responses the engine reads for one request, so that nobody waits long for it."""
log = logging.getLogger(__name__)


def read_some(project_id: int) -> None:
    """Have the engine read a few; the fit that follows asks for more while any are left.

    What is stored stays stored, so stopping anywhere costs one batch. While the engine is down nothing happens; every
    minute asks again.
    """
    with open_session() as session:
        project = session.get(Project, project_id)
        if project is None or project.archived_at is not None:
            return
        unread = answers.gather(session, project).unread[:AT_ONCE]
        items = [_item(session.get_one(Response, one)) for one in unread]
        base_model = project.base_model
    if not items:
        return
    try:
        with httpx.Client() as client:
            name, found = engine.features(client, base_model, items)
    except (Unavailable, BadInput) as problem:
        log.info("Responses of project %s wait to be read: %s", project_id, problem.message)
        return
    with open_session() as session:
        for response, features in zip(unread, found, strict=True):
            _store(session, response, name, features)
        heads.fit_soon(session, project_id)


def _item(response: Response) -> dict[str, Any]:
    return {
        "messages": response.prompt.messages,
        "response": response.text,
        "prompt_token_ids": response.prompt_token_ids,
        "token_ids": response.token_ids,
    }


def _store(session: Session, response: int, name: str, features: bytes | None) -> None:
    # Nothing, under a name, is a prompt that the model cannot read: it is not asked for again.
    values = {"features": features or b"", "features_from": name}
    session.execute(update(Response).where(Response.id == response).values(values))
