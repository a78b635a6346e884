"""The dock below a pair: what a project asks there, and what a person sent from it."""

from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.datastructures import FormData

from app.accounts.access import Access
from app.labeling import history, words
from app.labeling.answers import Spoken
from app.models import Answer
from app.models.policies import Labeling


async def sent_form(request: Request) -> FormData:
    """The form as it was sent: criteria have names of their own in every project."""
    return await request.form()


Sent = Annotated[FormData, Depends(sent_form)]


def asked(access: Access) -> dict[str, Any]:
    """What the project asks, as the templates read it: its policy, the steps, flags and reasons to skip."""
    policy = Labeling.from_json(access.project.labeling)
    return {
        "policy": policy,
        "steps": words.steps(policy.strengths),
        "flags": words.FLAGS,
        "skip_reasons": words.SKIP_REASONS,
    }


def spoken(sent: FormData) -> Spoken:
    """The answer that a form says; raises BadInput where no choice was made."""
    reason = str(sent.get("skip_reason", ""))
    # Each reason to skip is a button of its own, which sends no choice.
    said = {"verdict": "skipped", "skip_reason": reason} if reason else words.choice(str(sent.get("choice", "")))
    try:
        seconds = float(str(sent.get("seconds", "")))
    except ValueError:
        seconds = None
    return Spoken(**said, **typed(sent), seconds=seconds, source="page")


def typed(sent: FormData) -> dict[str, Any]:
    """What stands in the fields beside the choice."""
    criteria = {
        name.removeprefix("criterion:"): str(value)
        for name, value in sent.items()
        if name.startswith("criterion:") and value
    }
    flags = [str(flag) for flag in sent.getlist("flags")]
    return {"rationale": str(sent.get("rationale", "")), "flags": flags, "criteria": criteria}


def as_typed(stored: Answer) -> dict[str, Any]:
    """The same of an answer that was stored, with criteria by side again."""
    left = history.shown_left(stored)
    sides = {left: "left", "b" if left == "a" else "a": "right", "tie": "tie"}
    criteria = {name: sides[value] for name, value in stored.criteria.items()}
    return {"rationale": stored.rationale, "flags": stored.flags, "criteria": criteria}
