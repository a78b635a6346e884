"""The operator's pages: the loop with the forms that start runs, and one run, both live."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.orm import Session

from app.accounts.access import Access, OperatorOf, page_context
from app.checkpoints import checkpoints, figures
from app.database import Transaction
from app.errors import BadInput, NotFound
from app.languages import N_, _, span
from app.models import FINISHED, Run, User
from app.runs import curves, forms, live_page, loop, metrics, runs, samples
from app.templating import called, environment, page

pages = APIRouter(prefix="/projects/{slug}/runs")

KINDS = {
    "sample": N_("Sampling"),
    "reward": N_("Reward model"),
    "ppo": N_("PPO"),
    "dpo": N_("DPO"),
    "evaluate": N_("Evaluation"),
    "chain": N_("Chain"),
    "import": N_("Import"),
    "export": N_("Export"),
}
TRIGGERS = {
    "person": N_("a person"),
    "labels": N_("new labels"),
    "cron": N_("its time"),
    "chain": N_("its chain"),
    "stock": N_("a low stock"),
}
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


@pages.get("")
def runs_page(
    request: Request, session: Transaction, access: OperatorOf, before: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    return page(request, "runs/runs.html", _of_all(session, access, before) | _forms(session, access))


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
        return {"loop": _fragment("runs/_loop.html", values), "list": _fragment("runs/_list.html", values)}

    async for event in live_page.events(access, "operator", render):
        yield event


@pages.get("/{run_id}")
def run_page(request: Request, session: Transaction, access: OperatorOf, run_id: str) -> Response:
    return page(request, "runs/run.html", _of_one(session, access, _of_project(session, access, run_id)))


@pages.get("/{run_id}/live", response_class=EventSourceResponse)
async def live_run(access: OperatorOf, run_id: str) -> AsyncIterator[ServerSentEvent]:
    """The run, again after every change until it has ended."""

    def render(session: Session, access: Access) -> dict[str, str]:
        values = _of_one(session, access, _of_project(session, access, run_id))
        parts = {"head": _fragment("runs/_head.html", values), "body": _fragment("runs/_body.html", values)}
        return parts | ({"end": ""} if values["finished"] else {})

    async for event in live_page.events(access, "operator", render):
        yield event


@pages.post("/{run_id}/cancel")
def cancel_run(session: Transaction, access: OperatorOf, run_id: str) -> Response:
    run = runs.cancel(session, _of_project(session, access, run_id))
    return RedirectResponse(f"/projects/{access.project.slug}/runs/{run.id}", 303)


@pages.post("/{run_id}/retry")
def retry_run(session: Transaction, access: OperatorOf, run_id: str) -> Response:
    run = runs.retry(session, _of_project(session, access, run_id), access.person)
    return RedirectResponse(f"/projects/{access.project.slug}/runs/{run.id}", 303)


def _fragment(template: str, values: dict[str, Any]) -> str:
    return environment.get_template(template).render(values)


def _of_project(session: Session, access: Access, run_id: str) -> Run:
    run = runs.find(session, access.person, run_id)
    if run.project_id != access.project.id:
        raise NotFound(_("There is no run {run_id!r} in this project.").format(run_id=run_id))
    return run


def _of_all(session: Session, access: Access, before: int | None = None) -> dict[str, Any]:
    listed = runs.newest(session, access.project, before, steps_too=False)
    return page_context(access, "runs") | {
        "loop_state": loop.of(session, access.project),
        "listed": listed,
        "older": listed[-1].id if len(listed) == runs.PAGE else None,
        "kinds": {kind: _(name) for kind, name in KINDS.items()},
        "triggers": {trigger: _(name) for trigger, name in TRIGGERS.items()},
    }


def _forms(
    session: Session, access: Access, chosen: str = "chain", typed: dict[str, str] | None = None, problem: str = ""
) -> dict[str, Any]:
    base = access.project.base_model
    shown = [
        {
            "kind": kind,
            "title": _(FORMS[kind][0]),
            "about": _(FORMS[kind][1]),
            "button": _(FORMS[kind][2]),
            "settings": [(_(KINDS[step]), forms.settings_of(step, base)) for step in forms.STEPS[kind]],
        }
        for kind in forms.STARTED
    ]
    return {
        "forms": shown,
        "chosen": chosen,
        "typed": typed or {},
        "problem": problem,
        "presets": forms.PRESETS,
        "rewards": checkpoints.newest(session, access.project, "reward", limit=20),
        "policies": checkpoints.newest(session, access.project, "policy", limit=20),
    }


def _of_one(session: Session, access: Access, run: Run) -> dict[str, Any]:
    rows = metrics.of(session, run)
    left = metrics.seconds_left(run, rows)
    took = (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
    person = session.get(User, run.requested_by_id) if run.requested_by_id else None
    return page_context(access, "runs") | {
        "run": run,
        "finished": run.status in FINISHED,
        "chain": session.get(Run, run.parent_id) if run.parent_id else None,
        "steps": runs.steps_of(session, run),
        "phases": [curves.of(phase, group) for phase, group in metrics.by_phase(rows).items()],
        "samples": samples.shown(run.samples),
        "figures_named": figures.named(run.result.get("metrics", {})),
        "left": span(left) if left is not None else None,
        "took": span(took) if took is not None else None,
        "person_name": called(person) if person else None,
        "kinds": {kind: _(name) for kind, name in KINDS.items()},
        "triggers": {trigger: _(name) for trigger, name in TRIGGERS.items()},
    }
