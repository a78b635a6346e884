"""A model card, written from what the database knows: lineage, data, guidelines, figures, known failures."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.checkpoints import evidence, figures, lineage, trials
from app.models import Checkpoint, GuidelineVersion, Project, Run, Snapshot

MADE_BY = {
    "reward": "learnt from people's choices as a reward model",
    "ppo": "trained with PPO against a reward model",
    "dpo": "trained with DPO on people's choices",
    "import": "trained elsewhere and brought in",
}
WORST = 5
"""Prompts that got worse, as many as a card names."""


def facts(session: Session, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a card says, as programs read it."""
    project, run = session.get_one(Project, checkpoint.project_id), session.get_one(Run, checkpoint.run_id)
    found, line = evidence.of(session, checkpoint), lineage.of(session, checkpoint)
    return {
        "checkpoint": str(checkpoint.id),
        "kind": checkpoint.kind,
        "status": checkpoint.status,
        "project": project.slug,
        "base_model": checkpoint.base_model,
        "made": checkpoint.created_at.isoformat(),
        "made_by": {"run": str(run.id), "kind": run.kind, "seed": run.result.get("spec", {}).get("seed")},
        "sha256": checkpoint.sha256,
        "lineage": [str(one.id) for one in line.ancestors],
        "reward_model": str(line.reward.id) if line.reward else None,
        "data": _data(checkpoint.snapshot),
        "guidelines": _guidelines(session, checkpoint, project),
        "metrics": checkpoint.metrics,
        "gate": checkpoint.gate,
        "trials": [trials.as_json(one) for one in trials.of(session, checkpoint)],
        "known_failures": _failures(found),
    }


def markdown(session: Session, checkpoint: Checkpoint) -> str:
    """The card as README.md of what is taken away; English, like every file that Pairloop writes."""
    card = facts(session, checkpoint)
    line = " ← ".join([f"checkpoint {one}" for one in card["lineage"]] + [card["base_model"]])
    parts = [
        f"# {card['project']}: {_kind(card)} {card['checkpoint']}",
        f"A {_kind(card)} on {card['base_model']}, {MADE_BY.get(card['made_by']['kind'], 'made')} "
        f"in run {card['made_by']['run']} of the Pairloop project “{card['project']}” on {card['made'][:10]}.",
        "## Where it comes from",
        f"- Started from: {line}",
        *([f"- Scored by: reward model {card['reward_model']}"] if card["reward_model"] else []),
        *_data_lines(card),
        f"- SHA-256 of its files: `{card['sha256']}`",
        "## What it is worth",
        f"- Gate: {_gate(card['gate'])}",
        *(f"- Blind trial by people: {_trial(one)}" for one in card["trials"]),
        *(f"- {name}: {_figure(value)}" for name, value in figures.in_english(checkpoint.metrics)),
        "## Known failures",
        *(card["known_failures"] or ["None was recorded. That is no promise that there are none."]),
        "## What these figures are not",
        "They were measured on this project's own prompts, mostly by a model of this project's own choices. They say "
        "nothing about facts, safety, or what other people would prefer.",
    ]
    text = ""
    for before, part in zip(["", *parts], parts, strict=False):
        together = before.startswith("- ") and part.startswith("- ")
        text += ("\n" if together else "\n\n" if before else "") + part
    return text + "\n"


def _data(snapshot: Snapshot | None) -> dict[str, Any] | None:
    if snapshot is None:
        return None
    known = ("answers", "counts", "annotators", "simulated_answers", "holdout", "guideline_versions")
    return {"snapshot": snapshot.sha256, **{name: snapshot.manifest.get(name) for name in known}}


def _guidelines(session: Session, checkpoint: Checkpoint, project: Project) -> int | None:
    """The version of the guidelines that was in force when the model was made."""
    return session.scalar(
        select(func.max(GuidelineVersion.version)).where(
            GuidelineVersion.project_id == project.id, GuidelineVersion.created_at <= checkpoint.created_at
        )
    )


def _failures(found: evidence.Evidence) -> list[str]:
    said = [f"- It did not pass the check “{one['name']}”." for one in found.failed]
    for one in found.regressions[:WORST]:
        prompt = " ".join(str(one["prompt"]).split())[:160].replace("`", "'")
        before, after = one["reward_before"], one["reward"]
        said.append(f"- Worse than what was in use before ({after:+.2f} instead of {before:+.2f}) on: `{prompt}`")
    return said


def _data_lines(card: dict[str, Any]) -> list[str]:
    lines = []
    if counted := card["data"]:
        lines.append(f"- Answers in its snapshot: {counted['answers'] or 0:,} (`{counted['snapshot'][:12]}`)")
        for name, numbers in (counted["counts"] or {}).items():
            lines.append(f"- … by {name}: " + ", ".join(f"{n:,} {key}" for key, n in numbers.items() if n))
        lines.append(f"- … people who gave them: {counted['annotators'] or 0}, simulated ones included")
    if card["guidelines"] is not None:
        lines.append(f"- Guidelines in force: version {card['guidelines']}")
    return lines


def _kind(card: dict[str, Any]) -> str:
    return "reward model" if card["kind"] == "reward" else "policy"


def _gate(gate: dict[str, Any]) -> str:
    if not gate:
        return "it was not judged yet."
    forced = " It was forced past the gate." if gate.get("forced") and not gate.get("passed") else ""
    return f"{'passed' if gate.get('passed') else 'not passed'}. {gate.get('why', '')}{forced}"


def _trial(one: dict[str, Any]) -> str:
    if one["share"] is None:
        return f"{one['status']}, without answers."
    figures_said = f"{one['share']:.0%} [{one['low']:.0%}, {one['high']:.0%}] of {one['answered']} pairs"
    return f"{one['status']}; preferred in {figures_said}, against checkpoint {one['opponent']}."


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
