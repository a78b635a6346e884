"""Runs as people start, cancel, repeat and read them."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.access import may
from app.checkpoints import trials
from app.errors import BadInput, Conflict, NotFound
from app.languages import _
from app.lists import Asked, Listing, itself, page_of
from app.models import FINISHED, Project, Run, User, now
from app.runs import fence, live, steps
from app.runs.params import PARAMS, checked

PAGE = 50


def start(
    session: Session,
    project: Project,
    kind: str,
    params: dict[str, Any],
    person: User | None,
    trigger: str = "person",
    retry_of: Run | None = None,
) -> Run:
    """Begin a run; it works as soon as a worker is free. Raises BadInput with a sentence where it could not work."""
    if kind not in PARAMS:
        raise BadInput(
            _("A run of kind {kind!r} cannot be started here. Choose one of {known}.").format(
                kind=kind, known=", ".join(PARAMS)
            )
        )
    if project.archived_at is not None:
        raise BadInput(_("This project is archived. Bring it back in its settings before you start anything."))
    params = checked(session, project, kind, params)
    run = Run(
        project_id=project.id,
        kind=kind,
        trigger=trigger,
        params=params,
        requested_by_id=person.id if person else None,
        retry_of_id=retry_of.id if retry_of else None,
        message="Waits for a worker.",
    )
    session.add(run)
    session.flush()
    if person is not None:
        action = "run_forced" if params.get("force") else "run_started"
        audit.record(session, action, by=person, project=project, run=run.id, kind=kind)
    if kind == "reward":
        steps.take_count(session, run)
    if kind == "chain":
        steps.begin_chain(session, run)
    else:
        steps.enqueue_run(session, run)
    live.announce(session, project.id)
    return run


def cancel(session: Session, run: Run) -> Run:
    """End a run: at once where nobody works on it, else within two seconds. A finished one stays as it is."""
    # The same order as a step that ends: first the step, then its chain.
    step = _locked(session, Run.parent_id == run.id, Run.status.not_in(FINISHED)) if run.kind == "chain" else None
    run = _locked(session, Run.id == run.id) or run
    if run.status in FINISHED:
        return run
    if run.cancel_requested_at is None:
        audit.record(session, "run_cancelled", project=run.project_id, run=run.id, kind=run.kind)
    run.cancel_requested_at = run.cancel_requested_at or now()
    run.message = "Is being cancelled."
    target = step if step is not None and step.status not in FINISHED else run
    if target.kind != "chain" and (target.status == "queued" or fence.is_free(session, target.id)):
        steps.cancelled(session, target)
    live.announce(session, run.project_id)
    return run


def retry(session: Session, run: Run, person: User) -> Run:
    """Start the same again as a new run; raises Conflict unless it failed or was cancelled."""
    if run.status not in ("failed", "cancelled"):
        raise Conflict(_("Only a run that failed or was cancelled can be started again."))
    of_trial = run.kind == "sample" and "candidate" in run.params
    if of_trial or run.kind in ("import", "export"):
        again = Run(project_id=run.project_id, kind=run.kind, params=run.params, retry_of_id=run.id)
        again.requested_by_id, again.message = person.id, "Waits for a worker."
        session.add(again)
        session.flush()
        if of_trial:
            trials.go_on(session, run, again)
        audit.record(session, "run_started", by=person, project=run.project_id, run=again.id, kind=run.kind)
        steps.enqueue_run(session, again)
        return again
    # What a chain handed to its step may be gone; started alone, the step finds the promoted or newest one itself.
    handed = ("reward", "checkpoint") if run.parent_id else ()
    mine = {name: value for name, value in run.params.items() if name not in handed}
    return start(session, session.get_one(Project, run.project_id), run.kind, mine, person, retry_of=run)


def find(session: Session, person: User, run_id: str, needed: str = "operator") -> Run:
    """Fetch and authorise in one call; a run of a hidden project does not exist. Admins see their imports, exports."""
    run = session.get(Run, int(run_id)) if run_id.isdecimal() and len(run_id) < 19 else None
    if run is None:
        raise NotFound(_("There is no run {run_id!r} that you may see.").format(run_id=run_id))
    project = session.get_one(Project, run.project_id)
    may(session, person, project, "admin" if run.kind in ("import", "export") else needed)
    return run


def newest(session: Session, project: Project, before: int | None = None, limit: int = PAGE) -> list[Run]:
    """A project's runs, newest first, older than the run `before`, the steps of chains included."""
    query = select(Run).where(Run.project_id == project.id).order_by(Run.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Run.id < before)
    return list(session.scalars(query))


def listed(session: Session, project: Project, asked: Asked, path: str) -> Listing[Run]:
    """A page of a project's runs without the steps of chains; the search is `kind:ppo`, `status:failed`, and words."""
    words, filters = asked.parsed("kind", "status")
    query = select(Run).where(Run.project_id == project.id)
    if filters["kind"]:
        query = query.where(Run.kind.in_(filters["kind"]))
    else:
        query = query.where(Run.parent_id.is_(None), Run.kind.not_in(("import", "export")))
    if filters["status"]:
        query = query.where(Run.status.in_(filters["status"]))
    for word in words:
        query = query.where(func.coalesce(Run.error, Run.message).icontains(word, autoescape=True))
    return page_of(session, query, Run.id, {"when": Run.id}, asked, path, "-when", make=itself)


def steps_of(session: Session, chain: Run) -> list[Run]:
    """A chain's steps in their order."""
    return list(session.scalars(select(Run).where(Run.parent_id == chain.id).order_by(Run.id)))


def as_json(run: Run) -> dict[str, Any]:
    """The run as programs read it."""
    return {
        "id": str(run.id),
        "kind": run.kind,
        "status": run.status,
        "trigger": run.trigger,
        "params": run.params,
        "chain": str(run.parent_id) if run.parent_id else None,
        "retry_of": str(run.retry_of_id) if run.retry_of_id else None,
        "attempt": run.attempt,
        "progress": {"phase": run.phase, "done": run.done, "total": run.total},
        "message": run.message,
        "error": run.error,
        "metrics": run.result.get("metrics", {}),
        "gate": run.result.get("gate"),
        "checkpoint": run.result.get("checkpoint"),
        "surprising": run.result.get("surprising", []),
        "snapshot": run.snapshot.sha256 if run.snapshot else None,
        "samples": run.samples,
        "code": run.facts.get("code"),
        "machine": run.facts.get("machine"),
        "used": {name: run.facts.get(name) for name in ("peak_mb", "cpu_s", "phases")},
        "interruptions": run.facts.get("interruptions", []),
        "created": run.created_at.isoformat(),
        "started": run.started_at.isoformat() if run.started_at else None,
        "finished": run.finished_at.isoformat() if run.finished_at else None,
    }


def _locked(session: Session, *conditions: Any) -> Run | None:
    query = select(Run).where(*conditions).order_by(Run.id).limit(1).with_for_update()
    return session.scalar(query.execution_options(populate_existing=True))
