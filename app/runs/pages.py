"""The operator's first page: the loop, the forms that start runs and the list, live; its pause; runs compared."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.orm import Session

from app.accounts.access import Access, OperatorOf, page_context
from app.checkpoints import checkpoints
from app.database import Transaction
from app.errors import BadInput
from app.languages import N_, _
from app.lists import Asked
from app.runs import compare, estimates, forms, live_page, loop, params, pauses, run_pages, runs
from app.runs.run_pages import KINDS, TRIGGERS, fragment
from app.templating import page

pages = APIRouter(prefix="/projects/{slug}/runs")

FORMS = {
    "chain": (
        N_("The whole chain"),
        N_("Reward model, PPO, evaluation, promotion if the gates pass, new pairs."),
        N_("Start the chain"),
    ),
    "sample": (N_("Pairs"), N_("The policy in use writes two answers to each prompt."), N_("Write pairs")),
    "reward": (N_("Reward model"), N_("Learn from all answers which one people prefer."), N_("Train reward model")),
    "ppo": (
        N_("Policy"),
        N_("Let the reward model guide the policy. It stays a candidate."),
        N_("Train policy with PPO"),
    ),
    "dpo": (
        N_("Policy, without a reward model"),
        N_("Learn from all answers directly (DPO), to compare with PPO. It stays a candidate."),
        N_("Train policy with DPO"),
    ),
    "evaluate": (N_("Evaluation"), N_("Compare a candidate with the policy in use."), N_("Evaluate candidate")),
}


async def typed_fields(request: Request) -> dict[str, str]:
    """A form's fields, whatever their names are."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


class Look(Asked):
    """The list's address; `like` names a run whose settings the form is filled in with."""

    like: str | None = None


@pages.get("")
def runs_page(request: Request, session: Transaction, access: OperatorOf, asked: Annotated[Look, Query()]) -> Response:
    filled = _forms(session, access)
    like = asked.like
    if like is not None and (model := run_pages.of_project(session, access, like)).kind in forms.STARTED:
        filled = _forms(session, access, model.kind, forms.typed_of(model.kind, model.params)) | {"like": model}
    return page(request, "runs/runs.html", _of_all(session, access, asked) | filled)


@pages.post("")
def start_run(
    request: Request,
    session: Transaction,
    access: OperatorOf,
    typed: Annotated[dict[str, str], Depends(typed_fields)],
) -> Response:
    kind = typed.get("kind", "")
    try:
        run = runs.start(session, access.project, kind, forms.params_of(kind, typed), access.person)
    except BadInput as problem:
        shown = _forms(session, access, kind, typed, problem.message)
        return page(request, "runs/runs.html", _of_all(session, access) | shown, status=422)
    return RedirectResponse(f"/projects/{access.project.slug}/runs/{run.id}", 303)


@pages.get("/live", response_class=EventSourceResponse)
async def live_runs(access: OperatorOf) -> AsyncIterator[ServerSentEvent]:
    """The loop and the list, again after every change."""

    def render(session: Session, access: Access) -> dict[str, str]:
        values = _of_all(session, access)
        return {"loop": fragment("runs/_loop.html", values), "list": fragment("runs/_list.html", values)}

    async for event in live_page.events(access, "operator", render):
        yield event


@pages.post("/estimate")
def estimate_run(
    session: Transaction, access: OperatorOf, typed: Annotated[dict[str, str], Depends(typed_fields)]
) -> Response:
    """What a form as it is filled in would take, or what is wrong in it."""
    try:
        values = {"estimate": _estimate(session, access, typed.get("kind", ""), typed), "wrong": False}
    except BadInput as problem:
        values = {"estimate": problem.message, "wrong": True}
    return HTMLResponse(fragment("runs/_estimate.html", values))


@pages.post("/pause")
def pause(session: Transaction, access: OperatorOf, cancel: Annotated[bool, Form()] = False) -> Response:
    pauses.begin(session, access.project, cancel=cancel)
    return RedirectResponse(f"/projects/{access.project.slug}/runs", 303)


@pages.post("/go-on")
def go_on(session: Transaction, access: OperatorOf) -> Response:
    pauses.end(session, access.project)
    return RedirectResponse(f"/projects/{access.project.slug}/runs", 303)


@pages.get("/compare")
def compare_runs(
    request: Request, session: Transaction, access: OperatorOf, ids: Annotated[list[str], Query(default_factory=list)]
) -> Response:
    try:
        values = {"compared": compare.of(session, compare.named(session, access.project, ids)), "problem": ""}
    except BadInput as problem:
        values = {"compared": None, "problem": problem.message}
    named = {"kinds": {kind: _(name) for kind, name in KINDS.items()}}
    return page(
        request,
        "runs/compare.html",
        page_context(access, "runs") | values | named,
        status=422 if values["problem"] else 200,
    )


pages.include_router(run_pages.pages)


def _of_all(session: Session, access: Access, asked: Asked | None = None) -> dict[str, Any]:
    path = f"/projects/{access.project.slug}/runs"
    return page_context(access, "runs") | {
        "loop_state": loop.of(session, access.project),
        "listing": runs.listed(session, access.project, asked or Asked(), path),
        "kinds": {kind: _(name) for kind, name in KINDS.items()},
        "triggers": {trigger: _(name) for trigger, name in TRIGGERS.items()},
    }


def _forms(
    session: Session, access: Access, chosen: str = "chain", typed: dict[str, str] | None = None, problem: str = ""
) -> dict[str, Any]:
    shown = [
        {
            "kind": kind,
            "title": _(FORMS[kind][0]),
            "about": _(FORMS[kind][1]),
            "button": _(FORMS[kind][2]),
            "settings": [(_(KINDS[step]), forms.settings_of(step, access.project)) for step in forms.STEPS[kind]],
        }
        for kind in forms.STARTED
    ]
    return {
        "forms": shown,
        "chosen": chosen,
        "typed": typed or {},
        "problem": problem,
        "like": None,
        "estimates": {
            kind: _first_estimate(session, access, kind, typed if kind == chosen else None) for kind in forms.STARTED
        },
        "presets": forms.PRESETS,
        "rewards": checkpoints.newest(session, access.project, "reward", limit=20),
        "policies": checkpoints.newest(session, access.project, "policy", limit=20),
    }


def _first_estimate(session: Session, access: Access, kind: str, typed: dict[str, str] | None) -> str:
    """The estimate that a form shows before anything is changed in it; empty where it is filled in wrongly."""
    try:
        return _estimate(session, access, kind, typed or {})
    except BadInput:
        return ""


def _estimate(session: Session, access: Access, kind: str, typed: dict[str, str]) -> str:
    chosen = forms.params_of(kind, typed)
    if kind == "sample":
        params.check_pairs(chosen.get("comparisons"))
    else:
        params.check_settings(kind, access.project, chosen)
    return estimates.sentence(estimates.of(session, access.project, kind, chosen))
