"""Several candidates for an answer, of which the live head picks one: of use before anything is trained."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from sqlalchemy.orm import Session

from app import engine
from app.accounts.access import Access
from app.chat import conversations
from app.live_head import heads
from app.live_head.heads import Head
from app.models import Chat, LiveHead, Project

MOST = 16
"""Candidates at most; more cost time and gain little."""


def picker(session: Session, project: Project) -> LiveHead | None:
    """The live head that may pick, from its first estimate on."""
    row = heads.find(session, project.id)
    return row if row is not None and "accuracy" in row.metrics else None


def applies(session: Session, access: Access, chat: Chat) -> bool:
    """Whether the next answer of this conversation is picked from several."""
    return chat.best_of > 1 and picker(session, access.project) is not None


def answer(session: Session, access: Access, chat: Chat) -> Callable[[], Callable[[Session], None]]:
    """What has the candidates written when it is called, without a session, and returns what keeps the best of them.

    It says with the answer how many there were. Calling raises Unavailable while the engine is down, BadInput with the
    engine's own sentence.
    """
    call, checkpoint = conversations.call_for(session, access, chat, n=chat.best_of, return_features=True)
    head, checkpoint_id, chat_id = (
        heads.usable(session, access.project.id),
        checkpoint.id if checkpoint else None,
        chat.id,
    )

    def ask() -> Callable[[Session], None]:
        with httpx.Client() as client:
            text, candidates = pick(head, engine.complete(client, call.base_model, call.body))

        def keep(later: Session) -> None:
            conversations.keep_answer(later, chat_id, text, checkpoint_id, best_of=candidates)

        return keep

    return ask


def pick(found: tuple[LiveHead, Head] | None, written: dict[str, Any]) -> tuple[str, int | None]:
    """The text of the choice with the highest score, and among how many it was picked.

    Where the head cannot read them (another server is the engine, or the head is older than its features) the first
    text is taken and nothing was picked.
    """
    said = [((choice["message"]["content"] or "").strip(), choice.get("features")) for choice in written["choices"]]
    said = [(text, features) for text, features in said if text]
    if found is None or len(said) < 2 or written.get("features_from") != found[0].features_from:
        return said[0][0] if said else "", None
    features = np.stack([heads.numbers(engine.decoded(encoded)) for _, encoded in said])
    return said[int(found[1].scores(features).argmax())][0], len(said)
