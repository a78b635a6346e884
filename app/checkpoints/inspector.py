"""Look into the reward: what the reward model and the live head think of answers, and which people disagree with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app import engine
from app.accounts.access import Access
from app.checkpoints.checkpoints import promoted
from app.errors import BadInput, Conflict, NotFound
from app.languages import _
from app.live_head import heads
from app.messages import check_text, conversation
from app.models import Answer, Checkpoint, Comparison

MOST = 4
"""Answers that are looked at together."""
RECENT = 20
"""The newest answers that are scored when somebody asks which of them disagree."""


@dataclass(frozen=True)
class Seen:
    """One answer and what is thought of it; None where there is no such model or it cannot read the answer."""

    text: str
    reward: float | None
    live: float | None
    heads: list[float] = field(default_factory=list)
    """Each head's score of the live head's ensemble, in ascending order."""

    @property
    def spread(self) -> float | None:
        """The standard deviation over the ensemble."""
        return float(np.std(self.heads)) if self.heads else None


@dataclass(frozen=True)
class Disagreement:
    """A recent answer of a person, and by how much the reward model prefers the other response."""

    answer: Answer
    preferred: str
    other: str
    lead: float


def picked(session: Session, access: Access, comparison_id: str) -> tuple[str, list[str]]:
    """The last turn and both responses of a comparison of this project, to begin with; NotFound."""
    known = comparison_id.isdecimal() and len(comparison_id) < 19
    pair = joinedload(Comparison.response_a), joinedload(Comparison.response_b), joinedload(Comparison.prompt)
    found = session.get(Comparison, int(comparison_id), options=pair) if known else None
    if found is None or found.project_id != access.project.id:
        sentence = _("There is no comparison {comparison_id!r} in this project.")
        raise NotFound(sentence.format(comparison_id=comparison_id))
    return found.prompt.messages[-1]["content"], [found.response_a.text, found.response_b.text]


def look(session: Session, access: Access, prompt: str, responses: Sequence[str]) -> Callable[[], list[Seen]]:
    """What asks the engine about the answers when it is called; no session is needed then.

    Raises BadInput for a missing text; what it returns raises BadInput, Unavailable while the engine is down.
    """
    messages = conversation(prompt)
    texts = [check_text(text, _("Answer {n}").format(n=n)) for n, text in enumerate(responses, 1) if text.strip()]
    if not 1 <= len(texts) <= MOST:
        raise BadInput(_("Write 1 to {most} answers to look at.").format(most=MOST))
    model, found = promoted(session, access.project.id, "reward"), heads.usable(session, access.project.id)
    base = access.project.base_model

    def ask() -> list[Seen]:
        with httpx.Client() as client:
            rewards: Sequence[float | None] = (
                engine.scores(client, model, messages, texts) if model else [None] * len(texts)
            )
            items = [{"messages": messages, "response": text} for text in texts]
            name, read = engine.features(client, base, items) if found else ("", [])
        if found is None or name != found[0].features_from or any(one is None for one in read):
            return [Seen(text, reward, None) for text, reward in zip(texts, rewards, strict=True)]
        features = np.stack([heads.numbers(one or b"") for one in read])
        live, each = found[1].scores(features).tolist(), np.sort(found[1].ensemble_scores(features), axis=0).T.tolist()
        return [Seen(*one) for one in zip(texts, rewards, live, each, strict=True)]

    return ask


def recent(session: Session, access: Access) -> Callable[[], list[Disagreement]]:
    """What asks the reward model in use about the newest answers and returns those that disagree, the worst first.

    Raises Conflict where no reward model is in use.
    """
    model = promoted(session, access.project.id, "reward")
    if model is None:
        raise Conflict(_("This project has no promoted reward model yet. Train one, then ask again."))
    answers = _newest(session, access)

    def ask() -> list[Disagreement]:
        with httpx.Client() as client:
            found = [one for answer in answers if (one := _doubted(client, model, answer)) is not None]
        return sorted(found, key=lambda one: -one.lead)

    return ask


def _newest(session: Session, access: Access) -> list[Answer]:
    pair = joinedload(Answer.comparison)
    return list(
        session.scalars(
            select(Answer)
            .options(
                pair.joinedload(Comparison.prompt),
                pair.joinedload(Comparison.response_a),
                pair.joinedload(Comparison.response_b),
            )
            .where(Answer.project_id == access.project.id, Answer.verdict == "preferred")
            .order_by(Answer.id.desc())
            .limit(RECENT)
        )
    )


def _doubted(client: httpx.Client, model: Checkpoint, answer: Answer) -> Disagreement | None:
    """The answer where the reward model prefers the other response; None where it agrees or cannot read the pair."""
    pair = answer.comparison
    texts = [pair.response_a.text, pair.response_b.text]
    if answer.preferred == "b":
        texts.reverse()
    try:
        chosen, other = engine.scores(client, model, _said(pair), texts)
    except BadInput:
        return None
    return Disagreement(answer, texts[0], texts[1], other - chosen) if other > chosen else None


def _said(pair: Comparison) -> list[dict[str, Any]]:
    return [{"role": turn["role"], "content": turn["content"]} for turn in pair.prompt.messages]
