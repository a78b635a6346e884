"""How long a run will take and how much memory it needs, going by earlier runs on the same machine; nothing is guessed.

Each phase of an earlier run is scaled by how much more of its work there is: the seconds of PPO by the tokens drawn,
those of a reward model by its answers, those of an evaluation by the answers it draws, those of sampling by its pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.languages import _, ngettext, number, span
from app.models import DECISIVE, Answer, Project, Run
from app.models.policies import Sampling
from app.runs import due
from app.runs.hyper import HYPER, PpoHyper
from app.runs.params import hyper_of
from app.runs.steps import AFTER
from app.runs.typed_settings import Hyper

LOOKED_AT = 10
"""So many of the newest finished runs of a kind are gone by."""
Work = Callable[[Any, int], float]
WORK: dict[str, dict[str, Work]] = {
    "reward": {
        "read": lambda _hyper, answers: answers,
        "adapters": lambda hyper, answers: answers * hyper.lora_epochs if answers >= hyper.lora_from_labels else 0,
        "reference": lambda hyper, _answers: hyper.reference_samples * hyper.reference_tokens,
        "report": lambda _hyper, answers: answers,
    },
    "ppo": {
        "judge": lambda hyper, _answers: hyper.heldout_answers * hyper.max_new_tokens,
        "ppo": lambda hyper, _answers: hyper.updates * hyper.batch * hyper.max_new_tokens,
    },
    "dpo": {"dpo": lambda hyper, answers: answers * hyper.epochs},
    "evaluate": {"evaluate": lambda hyper, _answers: hyper.prompts * hyper.answers_per_prompt * hyper.max_new_tokens},
}
"""How much there is to do in a phase, by its settings and the number of answers; other phases take what they took."""


@dataclass(frozen=True)
class Estimate:
    """Seconds, as the median and the range over `runs` earlier runs, and the most memory that one of them took.

    `peak_mb` is 0 for sampling, whose memory is the engine's.
    """

    seconds: float
    low: float
    high: float
    peak_mb: float
    runs: int
    machine: str


def of(session: Session, project: Project, kind: str, params: Mapping[str, Any]) -> Estimate | None:
    """The estimate for a run of this kind with these checked parameters; None where nothing is known yet."""
    if kind == "sample":
        wanted = params.get("comparisons")
        return _of_sampling(session, project, due.missing_pairs(session, project) if wanted is None else wanted)
    answers = _decisive(session, project)
    if kind != "chain":
        return _of_step(session, project, kind, params, answers)
    hyper = params.get("hyper", {})
    steps = [_of_step(session, project, step, {**params, "hyper": hyper.get(step, {})}, answers) for step in AFTER]
    # A promotion withdraws what waits, so a chain ends by writing the whole stock.
    if stock := Sampling.from_json(project.sampling).stock:
        steps.append(_of_sampling(session, project, stock))
    known = [one for one in steps if one is not None]
    if len(known) < len(steps):
        return None
    return Estimate(
        seconds=sum(one.seconds for one in known),
        low=sum(one.low for one in known),
        high=sum(one.high for one in known),
        peak_mb=max(one.peak_mb for one in known),
        runs=min(one.runs for one in known),
        machine=known[0].machine,
    )


def sentence(found: Estimate | None) -> str:
    """The estimate in words."""
    if found is None:
        return _("Nothing is known yet about its time and memory: no such run has finished with this base model.")
    low, time, high = span(found.low), span(found.seconds), span(found.high)
    if low != high:
        time = _("{time} ({low} to {high})").format(time=time, low=low, high=high)
    if not found.peak_mb:
        said = ngettext(
            "About {time}, going by one earlier run on {machine}.",
            "About {time}, going by {n} earlier runs on {machine}.",
            found.runs,
        )
        return said.format(time=time, n=found.runs, machine=found.machine)
    said = ngettext(
        "About {time} and {memory} of memory, going by one earlier run on {machine}.",
        "About {time} and {memory} of memory, going by {n} earlier runs on {machine}.",
        found.runs,
    )
    memory = _("{n} GB").format(n=number(found.peak_mb / 1000, 1))
    return said.format(time=time, memory=memory, n=found.runs, machine=found.machine)


def _of_step(session: Session, project: Project, kind: str, params: Mapping[str, Any], answers: int) -> Estimate | None:
    wanted = hyper_of(kind, project, dict(params))
    earlier = _earlier(session, Run.kind == kind, Run.result["spec"]["base_model"].astext == project.base_model)
    return _estimate(earlier, [found for run in earlier if (found := scaled(run, wanted, answers)) is not None])


def _of_sampling(session: Session, project: Project, pairs: int) -> Estimate | None:
    """For so many pairs by the same base model in this project, whose settings say how long answers get."""
    earlier = _earlier(session, Run.kind == "sample", Run.project_id == project.id)
    phases = [run.facts["phases"].get("sample") for run in earlier]
    return _estimate(earlier, [pairs * one["seconds"] / one["steps"] for one in phases if one and one["steps"]])


def _estimate(earlier: Sequence[Run], seconds: Sequence[float]) -> Estimate | None:
    if not seconds:
        return None
    peak = max(run.facts.get("peak_mb", 0.0) for run in earlier)
    machine = earlier[0].facts["machine"]
    where = _("this machine ({name}, {cores} cores)").format(name=machine.get("name"), cores=machine.get("cores"))
    return Estimate(median(seconds), min(seconds), max(seconds), peak, len(seconds), where)


def _earlier(session: Session, *about: ColumnElement[bool]) -> Sequence[Run]:
    """The newest of these finished runs on the machine that worked last."""
    query = select(Run).where(*about, Run.status == "succeeded", Run.facts.has_key("phases"))
    found = list(session.scalars(query.order_by(Run.id.desc()).limit(LOOKED_AT)))
    return [run for run in found if run.facts["machine"] == found[0].facts["machine"]]


def scaled(run: Run, wanted: Hyper, answers: int) -> float | None:
    """The seconds of an earlier run as they would be with the wanted settings; None where it lacks a phase of these."""
    try:
        made = HYPER[run.kind].from_json(run.result["spec"]["hyper"], run.result["spec"]["base_model"])
    except ValueError:
        return None  # a version with other settings made it
    phases: dict[str, dict[str, float]] = run.facts["phases"]
    if isinstance(made, PpoHyper) and "ppo" in phases:
        # A run may end before its last update.
        made = replace(made, updates=max(1, int(phases["ppo"]["steps"])))
    before = run.snapshot.manifest.get("answers", 0) if run.snapshot is not None else 0
    total = 0.0
    for phase, work in WORK[run.kind].items():
        there, then = work(wanted, answers), work(made, before)
        if there and not (then and phase in phases):
            return None
        total += phases[phase]["seconds"] * there / then if there else 0.0
    return total + sum(one["seconds"] for phase, one in phases.items() if phase not in WORK[run.kind])


def _decisive(session: Session, project: Project) -> int:
    query = select(func.count()).where(Answer.project_id == project.id, Answer.verdict.in_(DECISIVE))
    return session.scalar(query) or 0
