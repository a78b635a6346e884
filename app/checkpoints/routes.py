"""The door of app/checkpoints: the page of models and the API."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from app.accounts.access import OperatorOf, Person, find_project, page_context
from app.checkpoints import checkpoints, figures, lineage, scores
from app.database import Transaction
from app.errors import NotFound
from app.languages import _
from app.models import Checkpoint
from app.templating import page

pages = APIRouter(prefix="/projects/{slug}/checkpoints")
api = APIRouter(prefix="/api/v1", tags=["checkpoints"])

Kind = Literal["policy", "reward"]


@pages.get("")
def models_page(request: Request, session: Transaction, access: OperatorOf) -> Response:
    values = {
        "in_use": [lineage.in_use(session, access.project, kind) for kind in ("policy", "reward")],
        "policies": checkpoints.newest(session, access.project, "policy"),
        "rewards": checkpoints.newest(session, access.project, "reward"),
    }
    return page(request, "checkpoints/models.html", page_context(access, "checkpoints") | values)


@pages.post("/roll-back")
def roll_back(session: Transaction, access: OperatorOf, kind: Annotated[Kind, Form()]) -> Response:
    checkpoints.roll_back(session, access, kind)
    return RedirectResponse(f"/projects/{access.project.slug}/checkpoints", 303)


@pages.get("/{checkpoint_id}")
def model_page(request: Request, session: Transaction, access: OperatorOf, checkpoint_id: str) -> Response:
    found = _of_project(session, access, checkpoint_id)
    values = {
        "figures_named": figures.named(found.metrics),
        "model": found,
        "lineage": lineage.of(session, found),
        "history": lineage.history(session, found),
    }
    return page(request, "checkpoints/model.html", page_context(access, "checkpoints") | values)


@pages.post("/{checkpoint_id}/promote")
def promote(session: Transaction, access: OperatorOf, checkpoint_id: str) -> Response:
    found = _of_project(session, access, checkpoint_id)
    checkpoints.promote(session, access, found)
    return RedirectResponse(f"/projects/{access.project.slug}/checkpoints", 303)


@pages.post("/{checkpoint_id}/retire")
def retire(session: Transaction, access: OperatorOf, checkpoint_id: str) -> Response:
    found = _of_project(session, access, checkpoint_id)
    checkpoints.retire(session, access, found)
    return RedirectResponse(f"/projects/{access.project.slug}/checkpoints", 303)


def _of_project(session: Transaction, access: OperatorOf, checkpoint_id: str) -> Checkpoint:
    _access, found = checkpoints.find(session, access.person, checkpoint_id)
    if found.project_id != access.project.id:
        raise NotFound(
            _("There is no checkpoint {checkpoint_id!r} in this project.").format(checkpoint_id=checkpoint_id)
        )
    return found


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


@api.post("/score")
def score(person: Person, session: Transaction, asked: scores.Asked) -> dict[str, Any]:
    """How good the promoted reward model finds some responses to a prompt; operators."""
    return scores.score(session, find_project(session, person, asked.project, "operator"), asked)
