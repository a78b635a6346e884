"""The door of app/labeling: the JSON API of assignments and answers; the pages are in pages.py."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import AnnotatorOf, HolderOf, Person
from app.database import Transaction
from app.labeling import answers, history, leases, readings, words
from app.labeling.label_page import pages
from app.labeling.meaning import handles
from app.models import FLAGS, VERDICTS, Answer

__all__ = ["api", "pages"]

api = APIRouter(prefix="/api/v1", tags=["labeling"])

Id = Annotated[int, Path(ge=1, lt=2**63)]


class Said(BaseModel):
    """An answer. `preferred` and the values of `criteria` are ids of the responses as the claim gave them."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    verdict: str = Field(description=f"One of {', '.join(VERDICTS)}.", examples=["preferred"])
    preferred: str | None = Field(None, description="The better response, where the verdict is preferred.")
    strength: int | None = Field(None, description="1 slightly, 2 better, 3 much better.")
    rationale: str = ""
    flags: list[str] = Field([], description=f"Of {', '.join(FLAGS)}.")
    criteria: dict[str, str] = Field({}, description="Which response is better by each criterion, or tie.")
    skip_reason: str | None = Field(None, description=f"One of {', '.join(words.SKIP_REASONS)}.")
    seconds: float | None = Field(None, description="How long it took, as the browser measured it.")


@api.post("/projects/{slug}/assignments")
def claim(session: Transaction, access: AnnotatorOf) -> Any:
    """The comparison to answer next, or 204 where none waits for this person."""
    assignment = leases.claim(session, access)
    if assignment is None:
        return Response(status_code=204)
    pair = leases.pair_of(session, assignment.comparison_id, assignment.shown_left)
    return {
        "assignment": str(assignment.id),
        "prompt": pair.messages,
        "responses": [
            {"id": handle, "text": shown.text}
            for handle, shown in zip(handles(assignment.id), (pair.left, pair.right), strict=True)
        ],
        "expires_at": assignment.leased_until,
    }


@api.post("/assignments/{id}/answer")
def answer(session: Transaction, access: HolderOf, id: Id, said: Said) -> dict[str, Any]:
    """Keep the answer; the same again gives the same, another one is a conflict."""
    spoken = answers.Spoken(**said.model_dump(), source="api")
    return _stored(id, answers.record(session, access, id, spoken))


@api.delete("/assignments/{id}/answer", status_code=204)
def undo(session: Transaction, person: Person, id: Id) -> None:
    """Take the answer back and hold the comparison again, unless a snapshot holds the answer."""
    access, _assignment = leases.find(session, person, id)
    answers.undo(session, access, id)


@api.post("/assignments/{id}/heartbeat")
def heartbeat(session: Transaction, person: Person, id: Id) -> dict[str, Any]:
    """Say that somebody still looks at this comparison."""
    assignment = leases.heartbeat(session, *leases.find(session, person, id))
    return {"assignment": str(assignment.id), "expires_at": assignment.leased_until}


@api.delete("/assignments/{id}", status_code=204)
def release(session: Transaction, person: Person, id: Id) -> None:
    """Give the comparison back unanswered."""
    leases.release(session, *leases.find(session, person, id))


@api.post("/projects/{slug}/guidelines/{version}/read", status_code=204)
def read_guidelines(session: Transaction, access: AnnotatorOf, version: Id) -> None:
    """Say that you have read this version of the guidelines; the label page then does not ask for it."""
    readings.confirm(session, access, version)


def _stored(assignment_id: int, answer: Answer) -> dict[str, Any]:
    left, right = handles(assignment_id)
    shown = history.shown_left(answer)
    ids = {shown: left, "b" if shown == "a" else "a": right}
    return {
        "id": str(answer.id),
        "assignment": str(assignment_id),
        "verdict": answer.verdict,
        "preferred": ids[answer.preferred] if answer.preferred else None,
        "strength": answer.strength,
        "rationale": answer.rationale,
        "flags": answer.flags,
        "criteria": {name: ids.get(value, value) for name, value in answer.criteria.items()},
        "skip_reason": answer.skip_reason,
        "seconds": answer.seconds_client,
        "guideline_version": answer.guideline_version,
        "simulated": answer.simulated,
        "revision": answer.revision,
        "created": answer.created_at,
    }
