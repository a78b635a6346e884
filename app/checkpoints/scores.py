"""What the promoted reward model thinks of responses that somebody brings."""

from collections.abc import Callable
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app import engine
from app.accounts.access import Access
from app.checkpoints.checkpoints import promoted
from app.errors import Conflict
from app.languages import _
from app.messages import conversation, response_text


class Asked(BaseModel):
    """A prompt and up to 64 responses to it, each a text or a list of messages that ends with the response."""

    model_config = ConfigDict(extra="forbid")

    project: str
    prompt: str | list[dict[str, Any]]
    responses: list[str | list[dict[str, Any]]] = Field(min_length=1, max_length=64)


def score(session: Session, access: Access, asked: Asked) -> Callable[[], dict[str, Any]]:
    """What asks the engine for the scores, in the responses' order, when it is called: no session is needed then.

    A score of 0 is the base model's average answer, 1 the spread of its answers. Raises BadInput, Conflict where no
    reward model is promoted; what it returns raises BadInput, Unavailable while the engine is down.
    """
    messages = conversation(asked.prompt)
    texts = [response_text(given, messages, f"{number}.") for number, given in enumerate(asked.responses, 1)]
    model = promoted(session, access.project.id, "reward")
    if model is None:
        raise Conflict(_("This project has no promoted reward model yet. Train one, then ask again."))

    def ask() -> dict[str, Any]:
        with httpx.Client() as client:
            return {"checkpoint": str(model.id), "scores": engine.scores(client, model, messages, texts)}

    return ask
