"""Prompts, responses and comparisons as every room brings them in: checked, hashed once, never twice."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.errors import BadInput
from app.messages import check_text
from app.models import ORDINARY, Checkpoint, Comparison, Project, Prompt, Response

# Made once, because making it takes longer than writing a prompt with it.
_quoted = json.JSONEncoder(ensure_ascii=False).encode


def prompt_hash(messages: Sequence[dict[str, Any]]) -> str:
    """SHA-256 of the conversation's normalised text: NFC, white space as single blanks, case kept, roles included."""
    # JSON of [[role, content], …], written out because that is several times as fast as to encode the lists.
    spoken = (
        f"[{_quoted(turn['role'])},{_quoted(' '.join(unicodedata.normalize('NFC', turn['content']).split()))}]"
        for turn in messages
    )
    return hashlib.sha256(f"[{','.join(spoken)}]".encode()).hexdigest()


def is_holdout(hash: str) -> bool:
    """One prompt in ten is never trained on; which one follows from its text alone, so every installation agrees."""
    return int(hash[:8], 16) % 10 == 0


def find_or_add_prompt(
    session: Session,
    project: Project,
    messages: Sequence[dict[str, Any]],
    *,
    sampled: bool,
    tags: Sequence[str] = (),
    source: str = "",
    priority: int = 0,
) -> tuple[Prompt, bool]:
    """The project's prompt with this text, and whether it was added now.

    `messages` were checked by `check_messages`. A prompt that so far only came inside comparisons is sampled from now
    on when it is brought as a prompt of its own; nothing else of a known prompt changes.
    """
    hash = prompt_hash(messages)
    new = {
        "project_id": project.id,
        "messages": list(messages),
        "hash": hash,
        "holdout": is_holdout(hash),
        "sampled": sampled,
        "tags": list(tags),
        "source": source,
        "priority": priority,
    }
    added = session.scalar(
        insert(Prompt).values(new).on_conflict_do_nothing(index_elements=["project_id", "hash"]).returning(Prompt)
    )
    if added is not None:
        return added, True
    known = session.scalars(select(Prompt).where(Prompt.project_id == project.id, Prompt.hash == hash)).one()
    known.sampled = known.sampled or sampled
    return known, False


def add_response(
    session: Session,
    prompt: Prompt,
    text: str,
    *,
    source: str,
    checkpoint: Checkpoint | None = None,
    base_model: str | None = None,
    sampling: dict[str, Any] | None = None,
    prompt_token_ids: list[int] | None = None,
    token_ids: list[int] | None = None,
    finish_reason: str | None = None,
    features: bytes | None = None,
    features_from: str | None = None,
) -> Response:
    """One answer to a prompt; raises BadInput where the text is empty or cannot be stored."""
    response = Response(
        prompt_id=prompt.id,
        text=check_text(text, "A response"),
        source=source,
        checkpoint_id=checkpoint.id if checkpoint else None,
        base_model=base_model,
        sampling=sampling,
        prompt_token_ids=prompt_token_ids,
        token_ids=token_ids,
        finish_reason=finish_reason,
        features=features,
        features_from=features_from if features is not None else None,
    )
    session.add(response)
    session.flush()
    return response


def add_comparison(
    session: Session,
    project: Project,
    prompt: Prompt,
    a: Response,
    b: Response,
    *,
    source: str,
    purpose: str | None = None,
    priority: int = 0,
    run_id: int | None = None,
) -> Comparison:
    """Put two different responses to one prompt up for comparison; equal texts raise BadInput.

    Without a purpose it is `holdout` where the prompt is held out, else `train`.
    """
    if a.text.strip() == b.text.strip():
        raise BadInput("Both responses say the same, so there is nothing to compare. Bring two different ones.")
    if {a.prompt_id, b.prompt_id} != {prompt.id} or prompt.project_id != project.id:
        raise BadInput("Both responses must answer the comparison's own prompt, in the same project.")
    comparison = Comparison(
        project_id=project.id,
        prompt_id=prompt.id,
        response_a_id=a.id,
        response_b_id=b.id,
        purpose=purpose or ("holdout" if prompt.holdout else "train"),
        source=source,
        priority=priority,
        needs=prompt.needs,
        run_id=run_id,
    )
    session.add(comparison)
    session.flush()
    return comparison


def waiting(session: Session, project_id: int) -> int:
    """How many comparisons of a project still wait for answers (the stock that sampling keeps up)."""
    found = session.scalar(
        select(func.count()).where(
            Comparison.project_id == project_id,
            Comparison.status == "waiting",
            ORDINARY,
        )
    )
    return found or 0
