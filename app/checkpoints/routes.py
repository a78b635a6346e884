"""The door of app/checkpoints: the pages of models and the API."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request, UploadFile
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import OperatorOf, Person, find_project
from app.checkpoints import brought, cards, checkpoints, packages, scores, trials
from app.checkpoints.pages import pages
from app.database import Transaction
from app.datasets import downloads
from app.later import Later
from app.models import Run

__all__ = ["api", "pages"]

api = APIRouter(prefix="/api/v1", tags=["checkpoints"])

Kind = Literal["policy", "reward"]


@api.get("/projects/{slug}/checkpoints")
def list_checkpoints(
    access: OperatorOf,
    session: Transaction,
    kind: Kind | None = None,
    cursor: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """What training made in this project, newest first."""
    found = checkpoints.newest(session, access.project, kind, cursor, limit + 1)
    more = str(found[limit - 1].id) if len(found) > limit else None
    return {"items": [checkpoints.as_json(one) for one in found[:limit]], "next": more}


@api.post("/checkpoints/{checkpoint_id}/promote")
def promote_checkpoint(person: Person, session: Transaction, checkpoint_id: str) -> dict[str, Any]:
    """Put a checkpoint in front; the engine uses it from the next request on. Promoting twice changes nothing."""
    access, found = checkpoints.find(session, person, checkpoint_id)
    return checkpoints.as_json(checkpoints.promote(session, access, found))


@api.post("/checkpoints/{checkpoint_id}/retire")
def retire_checkpoint(person: Person, session: Transaction, checkpoint_id: str) -> dict[str, Any]:
    """Take a checkpoint out of use; after a promoted policy the base model answers again."""
    access, found = checkpoints.find(session, person, checkpoint_id)
    return checkpoints.as_json(checkpoints.retire(session, access, found))


@api.post("/score", response_model=None)
def score(person: Person, session: Transaction, asked: scores.Asked) -> Response:
    """How good the promoted reward model finds some responses to a prompt; operators."""
    ask = scores.score(session, find_project(session, person, asked.project, "operator"), asked)
    return Later(lambda: JSONResponse(ask()))


@api.get("/checkpoints/{checkpoint_id}/card")
def model_card(person: Person, session: Transaction, checkpoint_id: str) -> dict[str, Any]:
    """The model card as facts: lineage, data, guidelines, figures, gates, known failures."""
    _access, found = checkpoints.find(session, person, checkpoint_id)
    return cards.facts(session, found)


class TrialRequest(BaseModel):
    """How many pairs people shall compare, and whether the candidate is promoted by itself when it wins."""

    model_config = ConfigDict(extra="forbid")

    comparisons: int = Field(trials.USUAL, ge=1, le=trials.MOST)
    promote: bool = False


@api.post("/checkpoints/{checkpoint_id}/trials", status_code=202)
def begin_trial(person: Person, session: Transaction, checkpoint_id: str, asked: TrialRequest) -> dict[str, Any]:
    """Put a candidate before people, blindly, against what is in use; the one that is open where there is one."""
    access, found = checkpoints.find(session, person, checkpoint_id)
    trial = trials.begin(session, found, asked.comparisons, access=access, promotes=asked.promote)
    return trials.as_json(trials.tally(session, trial))


@api.get("/checkpoints/{checkpoint_id}/trials")
def list_trials(person: Person, session: Transaction, checkpoint_id: str) -> dict[str, Any]:
    """A candidate's trials by people as they stand, newest first."""
    _access, found = checkpoints.find(session, person, checkpoint_id)
    return {"items": [trials.as_json(one) for one in trials.of(session, found)], "next": None}


class PackageRequest(BaseModel):
    """`merged`: a whole Hugging Face directory; `adapter`: PEFT's two files."""

    model_config = ConfigDict(extra="forbid")

    form: str = Field("merged", examples=list(packages.FORMS))


@api.post("/checkpoints/{checkpoint_id}/packages", status_code=202)
def begin_package(person: Person, session: Transaction, checkpoint_id: str, asked: PackageRequest) -> dict[str, Any]:
    """Have a model written as one archive; read it again until its status is `succeeded`, then fetch its file."""
    access, found = checkpoints.find(session, person, checkpoint_id)
    return packages.as_json(packages.request(session, access, found, asked.form))


@api.get("/packages/{package_id}")
def read_package(person: Person, session: Transaction, package_id: str) -> dict[str, Any]:
    """Status of a package and, once it succeeded, the address of its file."""
    return packages.as_json(packages.find(session, person, package_id))


@api.get("/packages/{package_id}/file", response_class=Response)
def package_file(request: Request, person: Person, session: Transaction, package_id: str) -> Response:
    """The archive; resumable (Range), its entity tag is the file's SHA-256."""
    return downloads.send(request, packages.finished(packages.find(session, person, package_id)))


@api.post("/projects/{slug}/checkpoints", status_code=202)
def bring_model(
    access: OperatorOf, session: Transaction, file: UploadFile, snapshot: Annotated[str, Form()] = ""
) -> dict[str, Any]:
    """Bring a model that was trained elsewhere, as a zip or tar of safetensors; a worker makes a candidate of it."""
    return _as_json(brought.bring(session, access, file.file, file.filename or "", snapshot))


def _as_json(run: Run) -> dict[str, Any]:
    made = run.result.get("checkpoint", {})
    said = {"message": run.message, "error": run.error, "checkpoint": made.get("id")}
    return {"id": str(run.id), "status": run.status, **said}
