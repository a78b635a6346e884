"""One run's page: where it stands, its curves, what looks wrong, its answers, its log; live until it has ended."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy.orm import Session

from app.accounts.access import Access, OperatorOf, page_context
from app.checkpoints import figures
from app.database import Transaction
from app.errors import NotFound
from app.languages import N_, _, number, span
from app.models import FINISHED, Run, RunMetric, User
from app.runs import curves, forms, live_page, logs, metrics, runs, samples, warnings
from app.runs.sentences import headline, now_doing
from app.templating import called, environment, page

pages = APIRouter(prefix="/{run_id}")

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


PHASES = {
    "read": N_("reading"),
    "head": N_("fitting the head"),
    "adapters": N_("adapters"),
    "reference": N_("zero and unit"),
    "report": N_("report"),
    "judge": N_("first look"),
    "ppo": N_("PPO"),
    "dpo": N_("DPO"),
    "evaluate": N_("evaluation"),
    "sample": N_("sampling"),
}


@pages.get("")
def run_page(request: Request, session: Transaction, access: OperatorOf, run_id: str) -> Response:
    return page(request, "runs/run.html", _of_one(session, access, of_project(session, access, run_id)))


@pages.get("/live", response_class=EventSourceResponse)
async def live_run(access: OperatorOf, run_id: str) -> AsyncIterator[ServerSentEvent]:
    """The run, again after every change until it has ended."""

    def render(session: Session, access: Access) -> dict[str, str]:
        values = _of_one(session, access, of_project(session, access, run_id))
        parts = {"head": fragment("runs/_head.html", values), "body": fragment("runs/_body.html", values)}
        return parts | ({"end": ""} if values["finished"] else {})

    async for event in live_page.events(access, "operator", render):
        yield event


@pages.post("/cancel")
def cancel_run(session: Transaction, access: OperatorOf, run_id: str) -> Response:
    run = runs.cancel(session, of_project(session, access, run_id))
    return RedirectResponse(f"/projects/{access.project.slug}/runs/{run.id}", 303)


@pages.post("/retry")
def retry_run(session: Transaction, access: OperatorOf, run_id: str) -> Response:
    run = runs.retry(session, of_project(session, access, run_id), access.person)
    return RedirectResponse(f"/projects/{access.project.slug}/runs/{run.id}", 303)


@pages.get("/log")
def log_page(
    request: Request,
    session: Transaction,
    access: OperatorOf,
    run_id: str,
    q: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    values = _of_log(access, of_project(session, access, run_id), q)
    if "hx-request" in request.headers:
        return HTMLResponse(fragment("runs/_log.html", values))
    return page(request, "runs/log.html", values)


@pages.get("/log/live", response_class=EventSourceResponse)
async def live_log(
    access: OperatorOf, run_id: str, q: Annotated[str, Query(max_length=200)] = ""
) -> AsyncIterator[ServerSentEvent]:
    """The lines of the log that were searched for, again after every change until the run has ended."""

    def render(session: Session, access: Access) -> dict[str, str]:
        values = _of_log(access, of_project(session, access, run_id), q)
        return {"lines": fragment("runs/_log.html", values)} | ({"end": ""} if values["finished"] else {})

    async for event in live_page.events(access, "operator", render):
        yield event


@pages.get("/log.txt")
def log_file(session: Transaction, access: OperatorOf, run_id: str) -> Response:
    """The whole log as it was written."""
    run = of_project(session, access, run_id)
    headers = {"Content-Disposition": f'attachment; filename="run-{run.id}.log"', "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(logs.whole(run), media_type="text/plain; charset=utf-8", headers=headers)


def fragment(template: str, values: dict[str, Any]) -> str:
    """A part of a page as HTML."""
    return environment.get_template(template).render(values)


def of_project(session: Session, access: Access, run_id: str) -> Run:
    """The run of this project; NotFound."""
    run = runs.find(session, access.person, run_id)
    if run.project_id != access.project.id:
        raise NotFound(_("There is no run {run_id!r} in this project.").format(run_id=run_id))
    return run


def _of_log(access: Access, run: Run, words: str) -> dict[str, Any]:
    return page_context(access, "runs") | {
        "run": run,
        "finished": run.status in FINISHED,
        "words": words,
        "found": logs.search(run, words),
        "shown": logs.SHOWN,
        "kinds": {kind: _(name) for kind, name in KINDS.items()},
    }


def _of_one(session: Session, access: Access, run: Run) -> dict[str, Any]:
    rows = metrics.of(session, run)
    left = metrics.seconds_left(run, rows)
    took = (run.finished_at - run.started_at).total_seconds() if run.finished_at and run.started_at else None
    person = session.get(User, run.requested_by_id) if run.requested_by_id else None
    hyper = run.result.get("spec", {}).get("hyper", {})
    again = run.facts.get("interruptions", [])
    return page_context(access, "runs") | {
        "run": run,
        "finished": run.status in FINISHED,
        "chain": session.get(Run, run.parent_id) if run.parent_id else None,
        "steps": runs.steps_of(session, run),
        "headline": headline(run, rows, span(left) if left is not None else None, hyper),
        "aside": _aside(run, rows),
        "warnings": warnings.of(rows, hyper),
        "again": [one for one in again if "step" in one],
        "resources": _resources(run, took),
        # The pairs of a trial belong to it: they are started from the candidate's page.
        "can_be_cloned": run.kind in forms.STARTED and "candidate" not in run.params,
        "phases": [curves.of(phase, group, hyper, again) for phase, group in metrics.by_phase(rows).items()],
        "samples": samples.shown(run.samples),
        "figures_named": figures.named(run.result.get("metrics", {})),
        "left": span(left) if left is not None else None,
        "took": span(took) if took is not None else None,
        "person_name": called(person) if person else None,
        "kinds": {kind: _(name) for kind, name in KINDS.items()},
        "triggers": {trigger: _(name) for trigger, name in TRIGGERS.items()},
    }


def _aside(run: Run, rows: list[RunMetric]) -> str:
    """What a running run said beyond where it stands; empty where it said no more than that."""
    last = rows[-1].metrics if rows else {}
    return "" if run.message == now_doing(run.phase, run.done, run.total, last) else run.message


def _resources(run: Run, took: float | None) -> list[tuple[str, str]]:
    """What the run used, as terms and figures."""
    facts, found = run.facts, list[tuple[str, str]]()
    if "peak_mb" in facts:
        found.append((_("Most memory"), _("{n} MB").format(n=number(facts["peak_mb"]))))
    if "cpu_s" in facts:
        busy = number(facts["cpu_s"] / took, 1) if took else ""
        said = _("{time}, {n} cores busy on average") if took else "{time}"
        found.append((_("Processor time"), said.format(time=span(facts["cpu_s"]), n=busy)))
    seconds = {phase: one["seconds"] for phase, one in facts.get("phases", {}).items() if one["seconds"] >= 0.5}
    if seconds:
        named = (f"{_(PHASES.get(phase, phase))} {span(took)}" for phase, took in seconds.items())
        found.append((_("Time by phase"), ", ".join(named)))
    return found
