"""What a training child is given: its spec and its prompts as files, written once per run."""

import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.checkpoints import checkpoints
from app.datasets import snapshots
from app.datasets.filters import Filters
from app.models import Checkpoint, Project, Prompt, Run
from app.runs import steps
from app.runs.params import hyper_of
from app.runs.progress import Failed
from app.settings import settings
from workers import artifacts

DEFAULT_SEED = 1


def write(session: Session, run: Run) -> str:
    """Write the run's prompts and spec where there are none yet, note its parents, and return the spec's address.

    A run that is taken up again finds what it was given the first time, so that it goes on with the same.
    """
    place = f"{settings.artifacts}/runs/{run.id}"
    address = f"{place}/spec.json"
    if "spec" in run.result:
        artifacts.write_file(address, _json(run.result["spec"]))
        return address
    project = session.get_one(Project, run.project_id)
    parents = _parents(session, run)
    snapshot = None
    if run.kind in ("reward", "dpo"):
        # Simulated answers are learnt from as well: their figures are the proof that the loop works.
        snapshot = snapshots.take(session, project, Filters(simulated=True))
        run.snapshot_id = snapshot.id
    if run.kind == "reward":
        # What is in the snapshot is counted: the retraining policy waits for answers that came after it.
        steps.take_count(session, run)
    elif parents["reward"] is not None:
        run.snapshot_id = parents["reward"].snapshot_id
    spec = {
        "run": str(run.id),
        "kind": run.kind,
        "base_model": project.base_model,
        "seed": run.params.get("seed", DEFAULT_SEED),
        "snapshot": {"url": snapshot.url, "sha256": snapshot.sha256} if snapshot else None,
        "prompts": _write_prompts(session, project, f"{place}/prompts.jsonl"),
        "parents": {kind: _named(parent) for kind, parent in parents.items()},
        "candidate": _named(_candidate(session, run)),
        "work": f"{place}/work/",
        "output": f"{settings.artifacts}/checkpoints/{run.id}/",
        "hyper": hyper_of(run.kind, project, run.params).to_json(),
    }
    ids = {kind: parent.id for kind, parent in parents.items() if parent is not None}
    run.result = {**run.result, "spec": spec, "parents": ids}
    artifacts.write_file(address, _json(spec))
    return address


def _parents(session: Session, run: Run) -> dict[str, Checkpoint | None]:
    """The reward model that scores and the policy in use; `reward` and `dpo` runs start from the base model alone."""
    if run.kind in ("reward", "dpo"):
        return {"reward": None, "policy": None}
    named = run.params.get("reward")
    reward = session.get(Checkpoint, int(named)) if named else checkpoints.promoted(session, run.project_id, "reward")
    if reward is None:
        raise Failed("There is no reward model in use any more. Train one, then start this run again.")
    return {"reward": reward, "policy": checkpoints.promoted(session, run.project_id, "policy")}


def _candidate(session: Session, run: Run) -> Checkpoint | None:
    return session.get(Checkpoint, int(run.params["checkpoint"])) if run.kind == "evaluate" else None


def _named(checkpoint: Checkpoint | None) -> dict[str, str] | None:
    if checkpoint is None:
        return None
    return {"id": str(checkpoint.id), "url": checkpoint.url, "sha256": checkpoint.sha256}


def _write_prompts(session: Session, project: Project, address: str) -> dict[str, str] | None:
    """The prompts that may be sampled, in their order; where there are none, those that came with comparisons."""
    query = select(Prompt).where(Prompt.project_id == project.id, Prompt.withdrawn_at.is_(None)).order_by(Prompt.id)
    prompts = session.scalars(query.where(Prompt.sampled)).all() or session.scalars(query).all()
    if not prompts:
        return None
    lines = (
        json.dumps({"id": str(one.id), "messages": one.messages, "holdout": one.holdout}, ensure_ascii=False)
        for one in prompts
    )
    return {"url": address, "sha256": artifacts.write_file(address, "".join(f"{line}\n" for line in lines).encode())}


def _json(spec: dict[str, Any]) -> bytes:
    return json.dumps(spec, indent=1, ensure_ascii=False).encode()
