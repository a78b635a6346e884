"""The operator's pages of models: what there is, what each is worth, trials, packages, and a look into the reward."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request, UploadFile
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.access import Access, OperatorOf, page_context
from app.checkpoints import (
    brought,
    cards,
    checkpoints,
    cleaning,
    evidence,
    figures,
    gates,
    inspector,
    lineage,
    packages,
    trials,
)
from app.database import Transaction
from app.datasets import downloads, snapshots
from app.errors import BadInput, NotFound
from app.languages import _
from app.later import Later
from app.lists import Asked
from app.models import Checkpoint, Project
from app.models.policies import Gates
from app.templating import page

pages = APIRouter(prefix="/projects/{slug}/checkpoints")

Kind = Literal["policy", "reward"]
Text = Annotated[str, Form()]


class Look(Asked):
    """Which of the two lists the rest of the address is about; the other one shows its beginning."""

    kind: str = ""


@pages.get("")
def models_page(
    request: Request, session: Transaction, access: OperatorOf, asked: Annotated[Look, Query()]
) -> Response:
    return _models(request, session, access, asked)


def _models(
    request: Request, session: Session, access: Access, asked: Look | None = None, problem: str = "", status: int = 200
) -> Response:
    asked, path = asked or Look(), f"/projects/{access.project.slug}/checkpoints"
    policies, rewards = (
        checkpoints.listed(session, access.project, kind, asked if asked.kind == kind else Asked(), path)
        for kind in ("policy", "reward")
    )
    values = {
        "in_use": [lineage.in_use(session, access.project, kind) for kind in ("policy", "reward")],
        "policies": policies,
        "rewards": rewards,
        "disk": cleaning.disk_use(session, access.project),
        "snapshots": snapshots.newest(session, access.project),
        "brought": brought.newest(session, access.project),
        "problem": problem,
    }
    return page(request, "checkpoints/models.html", page_context(access, "checkpoints") | values, status=status)


@pages.post("/roll-back")
def roll_back(session: Transaction, access: OperatorOf, kind: Annotated[Kind, Form()]) -> Response:
    checkpoints.roll_back(session, access, kind)
    return RedirectResponse(f"/projects/{access.project.slug}/checkpoints", 303)


@pages.post("/bring")
def bring(
    request: Request, session: Transaction, access: OperatorOf, file: UploadFile, snapshot: Text = ""
) -> Response:
    """Take in a model that was trained elsewhere."""
    try:
        brought.bring(session, access, file.file, file.filename or "", snapshot)
    except BadInput as problem:
        return _models(request, session, access, problem=problem.message, status=problem.status)
    return RedirectResponse(f"/projects/{access.project.slug}/checkpoints#bring", 303)


@pages.get("/inspector")
def inspector_page(
    request: Request, session: Transaction, access: OperatorOf, comparison: Annotated[str, Query()] = ""
) -> Response:
    """An empty form, or one filled with a comparison's prompt and responses."""
    prompt, texts = inspector.picked(session, access, comparison) if comparison else ("", [])
    values = _inspector(session, access, {"prompt": prompt, "texts": texts})
    return page(request, "checkpoints/inspector.html", values)


@pages.post("/inspector")
def inspect(
    request: Request,
    session: Transaction,
    access: OperatorOf,
    prompt: Text = "",
    response: Annotated[list[str], Form()] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """What the models think of the answers."""
    # The page's values are read while the session is there; the engine's part comes after.
    values = _inspector(session, access, {"prompt": prompt, "texts": response})
    try:
        ask = inspector.look(session, access, prompt, response)
    except BadInput as problem:
        shown = values | {"problem": problem.message}
        return page(request, "checkpoints/inspector.html", shown, status=problem.status)
    return Later(lambda: page(request, "checkpoints/inspector.html", values | {"seen": ask()}))


@pages.post("/inspector/recent")
def inspect_recent(request: Request, session: Transaction, access: OperatorOf) -> Response:
    """Which of the newest answers the reward model in use disagrees with."""
    values, ask = _inspector(session, access, {}), inspector.recent(session, access)
    return Later(lambda: page(request, "checkpoints/inspector.html", values | {"disagree": ask()}))


def _inspector(session: Session, access: Access, values: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {
        "reward": checkpoints.promoted(session, access.project.id, "reward"),
        "prompt": "",
        "texts": [],
        "most": inspector.MOST,
        "recent_of": inspector.RECENT,
        "seen": None,
        "disagree": None,
        "problem": "",
    }
    return page_context(access, "checkpoints") | known | values


@pages.get("/{checkpoint_id}")
def model_page(request: Request, session: Transaction, access: OperatorOf, checkpoint_id: str) -> Response:
    found = _of_project(session, access, checkpoint_id)
    policy = Gates.from_json(session.get_one(Project, found.project_id).gates)
    values = {
        "figures_named": figures.named(found.metrics),
        "model": found,
        "lineage": lineage.of(session, found),
        "history": lineage.history(session, found),
        "evidence": evidence.of(session, found),
        "check_names": {name: _(words) for name, words in gates.NAMES.items()},
        "trials": trials.of(session, found),
        "usual": policy.people or trials.USUAL,
        "most": trials.MOST,
        "packages": packages.of(session, found),
        "forms": {form: _(words) for form, words in packages.FORMS.items()},
        "card": cards.markdown(session, found),
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


@pages.post("/{checkpoint_id}/trial")
def begin_trial(
    session: Transaction,
    access: OperatorOf,
    checkpoint_id: str,
    comparisons: Annotated[int, Form(ge=1, le=trials.MOST)] = trials.USUAL,
    promote: Annotated[bool, Form()] = False,
) -> Response:
    """Put the candidate before people."""
    found = _of_project(session, access, checkpoint_id)
    trials.begin(session, found, comparisons, access=access, promotes=promote)
    return _back(access, found, "people")


@pages.post("/{checkpoint_id}/trial/end")
def end_trial(session: Transaction, access: OperatorOf, checkpoint_id: str) -> Response:
    """Take the candidate's pairs back from people; what they answered stays."""
    found = _of_project(session, access, checkpoint_id)
    trial = trials.open_one(session, found)
    if trial is not None:
        trials.end(session, trial)
    return _back(access, found, "people")


@pages.post("/{checkpoint_id}/package")
def begin_package(session: Transaction, access: OperatorOf, checkpoint_id: str, form: Text = "merged") -> Response:
    """Have the model written as one archive."""
    found = _of_project(session, access, checkpoint_id)
    packages.request(session, access, found, form)
    return _back(access, found, "take-away")


@pages.get("/{checkpoint_id}/packages/{package_id}")
def package_file(
    request: Request, session: Transaction, access: OperatorOf, checkpoint_id: str, package_id: str
) -> Response:
    """The archive itself."""
    _of_project(session, access, checkpoint_id)
    return downloads.send(request, packages.finished(packages.find(session, access.person, package_id)))


def _back(access: Access, found: Checkpoint, part: str) -> Response:
    return RedirectResponse(f"/projects/{access.project.slug}/checkpoints/{found.id}#{part}", 303)


def _of_project(session: Session, access: Access, checkpoint_id: str) -> Checkpoint:
    _access, found = checkpoints.find(session, access.person, checkpoint_id)
    if found.project_id != access.project.id:
        raise NotFound(
            _("There is no checkpoint {checkpoint_id!r} in this project.").format(checkpoint_id=checkpoint_id)
        )
    return found
