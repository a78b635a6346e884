"""The door of app/runs: pages and API."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import OperatorOf, Person
from app.database import Transaction
from app.runs import files, metrics, pauses, runs
from app.runs.pages import pages as run_list_pages
from app.runs.story_page import pages as story_pages

pages = APIRouter()
pages.include_router(run_list_pages)
pages.include_router(story_pages)
api = APIRouter(prefix="/api/v1", tags=["runs"])


class RunRequest(BaseModel):
    """`params`: `force`, `seed`, `preset` and `hyper` (training), `comparisons` (sample), `reward` (ppo)."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(examples=["chain", "sample", "reward", "ppo", "dpo", "evaluate"])
    params: dict[str, Any] = Field(default_factory=dict, examples=[{"force": False, "hyper": {"ppo": {"updates": 8}}}])


class PauseRequest(BaseModel):
    """`cancel`: whether what is under way is ended too."""

    model_config = ConfigDict(extra="forbid")

    cancel: bool = False


@api.post("/projects/{slug}/runs", status_code=202)
def start_run(access: OperatorOf, session: Transaction, body: RunRequest) -> dict[str, Any]:
    """Start a run; it begins as soon as a worker is free."""
    return runs.as_json(runs.start(session, access.project, body.kind, body.params, access.person))


@api.get("/projects/{slug}/runs")
def list_runs(
    access: OperatorOf,
    session: Transaction,
    cursor: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = runs.PAGE,
) -> dict[str, Any]:
    """The project's runs, newest first, the steps of chains included."""
    found = runs.newest(session, access.project, cursor, limit + 1)
    more = str(found[limit - 1].id) if len(found) > limit else None
    return {"items": [runs.as_json(run) for run in found[:limit]], "next": more}


@api.get("/runs/{run_id}")
def read_run(person: Person, session: Transaction, run_id: str) -> dict[str, Any]:
    """Status, progress, result and error of a run."""
    return runs.as_json(runs.find(session, person, run_id))


@api.get("/runs/{run_id}/metrics")
def read_metrics(person: Person, session: Transaction, run_id: str) -> dict[str, Any]:
    """What the run reported, in the order in which its phases began."""
    run = runs.find(session, person, run_id)
    items = [{"phase": row.phase, "step": row.step, "metrics": row.metrics} for row in metrics.of(session, run)]
    return {"items": items, "next": None}


@api.get("/runs/{run_id}/metrics.csv")
def read_metrics_as_csv(person: Person, session: Transaction, run_id: str) -> Response:
    """The same as a table: a line for every step, a column for every figure."""
    run = runs.find(session, person, run_id)
    return _file(files.as_csv(metrics.of(session, run)), f"run-{run.id}.csv", "text/csv; charset=utf-8")


@api.get("/runs/{run_id}/events")
def read_metrics_for_tensorboard(person: Person, session: Transaction, run_id: str) -> Response:
    """The same as an event file of TensorBoard; put it into a directory of its own below the log directory."""
    run = runs.find(session, person, run_id)
    began = int((run.started_at or run.created_at).timestamp())
    name = f"events.out.tfevents.{began}.run-{run.id}"
    return _file(files.as_events(metrics.of(session, run)), name, "application/octet-stream")


def _file(content: str | bytes, name: str, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@api.post("/projects/{slug}/pause", status_code=204)
def pause(access: OperatorOf, session: Transaction, body: PauseRequest) -> None:
    """Let nothing start by itself in this project; with `cancel` also end what is under way."""
    pauses.begin(session, access.project, cancel=body.cancel)


@api.delete("/projects/{slug}/pause", status_code=204)
def go_on(access: OperatorOf, session: Transaction) -> None:
    """Let things start by themselves again."""
    pauses.end(session, access.project)


@api.post("/runs/{run_id}/cancel", status_code=202)
def cancel_run(person: Person, session: Transaction, run_id: str) -> dict[str, Any]:
    """End a run within two seconds; a finished one stays as it is."""
    return runs.as_json(runs.cancel(session, runs.find(session, person, run_id)))


@api.post("/runs/{run_id}/retry", status_code=202)
def retry_run(person: Person, session: Transaction, run_id: str) -> dict[str, Any]:
    """Start a failed or cancelled run again, as a new run with the same parameters."""
    return runs.as_json(runs.retry(session, runs.find(session, person, run_id), person))
