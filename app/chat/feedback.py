"""Preferences from a product's own users, sent by the product: a comparison with an answer."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.accounts.access import Access
from app.errors import BadInput
from app.labeling import choices
from app.labeling.comparisons import add_comparison, add_response, find_or_add_prompt
from app.messages import conversation
from app.models import Answer


class Feedback(BaseModel):
    """What a product sends: `chosen` and `rejected`, or two `responses` with `preferred` 0, 1 or "tie"."""

    model_config = ConfigDict(extra="forbid")

    project: str
    prompt: str | list[dict[str, Any]] = Field(
        description="A text, or a list of {role, content} that ends with a user turn."
    )
    chosen: str | None = None
    rejected: str | None = None
    responses: list[str] | None = Field(None, min_length=2, max_length=2)
    preferred: Literal[0, 1, "tie"] | None = None
    strength: Literal[1, 2, 3] = 2
    rationale: str = Field("", max_length=5000)


def keep(session: Session, access: Access, sent: Feedback) -> Answer:
    """Store the preference with source `feedback`; raises BadInput where it does not say which was better."""
    (left, right), preferred = _judged(sent)
    messages = conversation(sent.prompt)
    prompt, _ = find_or_add_prompt(session, access.project, messages, sampled=False, source="feedback")
    a, b = (add_response(session, prompt, text, source="feedback") for text in (left, right))
    comparison = add_comparison(session, access.project, prompt, a, b, source="feedback")
    return choices.keep(
        session,
        access.project,
        comparison,
        access.person,
        verdict="tie" if preferred is None else "preferred",
        preferred=preferred,
        strength=sent.strength,
        rationale=sent.rationale,
        source="feedback",
    )


def _judged(sent: Feedback) -> tuple[tuple[str, str], str | None]:
    if sent.chosen is not None and sent.rejected is not None and sent.responses is None:
        return (sent.chosen, sent.rejected), "a"
    if sent.responses is not None and sent.preferred is not None and sent.chosen is None and sent.rejected is None:
        left, right = sent.responses
        return (left, right), None if sent.preferred == "tie" else "ab"[sent.preferred]
    raise BadInput('Send `chosen` and `rejected`, or two `responses` with `preferred` 0, 1 or "tie".')
