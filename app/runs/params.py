"""What may be asked of each kind of run, checked before anything starts."""

from dataclasses import fields, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app import engine
from app.checkpoints import checkpoints
from app.errors import BadInput
from app.languages import _
from app.models import DECISIVE, Answer, Project, Prompt
from app.models.policies import Sampling
from app.runs.hyper import HYPER
from app.runs.steps import AFTER, NAMES
from app.runs.typed_settings import TINY, Hyper

TRAINING = {"force", "hyper", "preset", "seed"}
PARAMS: dict[str, set[str]] = {
    "sample": {"comparisons"},
    "reward": TRAINING,
    "ppo": TRAINING | {"reward"},
    "dpo": TRAINING,
    "evaluate": TRAINING | {"checkpoint", "reward"},
    "chain": TRAINING,
}
"""The kinds that people start, and what `params` may hold for each."""
MOST_COMPARISONS = 10_000
LENGTHS = ("max_new_tokens", "reference_tokens")
"""Settings that say how long an answer may get."""


def checked(session: Session, project: Project, kind: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters as they are kept; raises BadInput for what is unknown, wrong or cannot work."""
    _check_names(kind, params)
    if "force" in params and not isinstance(params["force"], bool):
        raise BadInput(_("force must be true or false."))
    seed = params.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise BadInput(_("seed must be a whole number of at least 0, not {seed!r}.").format(seed=seed))
    if kind == "sample":
        _check_sample(session, project, params)
    else:
        check_settings(kind, project, params)
    if kind in ("reward", "dpo", "chain"):
        _check_answers(session, project)
    if kind in ("ppo", "evaluate"):
        params = {**params, **_parents(session, project, kind, params)}
    return params


def check_settings(kind: str, project: Project, params: dict[str, Any]) -> None:
    """Raise BadInput where the settings of a training run or a chain do not fit, whatever the project holds."""
    if kind not in HYPER and kind != "chain":
        raise BadInput(_("A run of kind {kind!r} has no settings.").format(kind=kind))
    if kind != "chain":
        return _check_hyper(kind, project, params)
    chosen = params.get("hyper", {})
    if not isinstance(chosen, dict) or not set(chosen) <= set(AFTER):
        raise BadInput(_('A chain\'s hyper is an object of settings by step, such as {"ppo": {"updates": 8}}.'))
    for step in AFTER:
        _check_hyper(step, project, {**params, "hyper": chosen.get(step, {})})
    return None


def usual(kind: str, project: Project, preset: str = "standard") -> Hyper:
    """The settings where nothing was chosen: the preset's, and answers as long as those that people compare.

    A reward model knows answers of that length and no others. `tiny` keeps its short ones: it is there to be quick.
    Raises ValueError for an unknown preset.
    """
    found = HYPER[kind].preset(project.base_model, preset)
    if project.base_model == TINY:
        return found
    length = Sampling.from_json(project.sampling).max_tokens
    return replace(found, **{one.name: length for one in fields(found) if one.name in LENGTHS})


def hyper_of(kind: str, project: Project, params: dict[str, Any]) -> Hyper:
    """The full settings of a training run: the usual ones with what was chosen; BadInput with a sentence."""
    try:
        known = usual(kind, project, params.get("preset", "standard")).to_json()
        return HYPER[kind].from_json({**known, **params.get("hyper", {})}, project.base_model)
    except ValueError as problem:
        step = _(NAMES[kind])
        raise BadInput(f"{step[0].upper()}{step[1:]}: {problem}") from problem


def _check_names(kind: str, params: dict[str, Any]) -> None:
    for name in params:
        if name not in PARAMS[kind]:
            sentence = _(
                "A {kind} run has no parameter {name!r}; it has {known}. Settings of the training itself go into hyper."
            )
            raise BadInput(sentence.format(kind=kind, name=name, known=", ".join(sorted(PARAMS[kind]))))


def _check_hyper(kind: str, project: Project, params: dict[str, Any]) -> None:
    if not isinstance(params.get("hyper", {}), dict):
        raise BadInput(_('hyper must be an object, such as {"updates": 8}.'))
    hyper_of(kind, project, params)


def _check_sample(session: Session, project: Project, params: dict[str, Any]) -> None:
    engine.url_for(project.base_model)
    check_pairs(params.get("comparisons"))
    sampled = select(Prompt.id).where(Prompt.project_id == project.id, Prompt.sampled, Prompt.withdrawn_at.is_(None))
    if session.scalar(sampled.limit(1)) is None:
        raise BadInput(_("This project has no prompts to sample. Bring prompts in first."))


def check_pairs(wanted: object) -> None:
    """Raise BadInput where this is no number of pairs; None means as many as the stock lacks."""
    if wanted is not None and (
        isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= MOST_COMPARISONS
    ):
        raise BadInput(
            _("comparisons must be a whole number from 1 to {most_comparisons}, not {wanted!r}.").format(
                most_comparisons=MOST_COMPARISONS, wanted=wanted
            )
        )


def _check_answers(session: Session, project: Project) -> None:
    decisive = select(Answer.id).where(Answer.project_id == project.id, Answer.verdict.in_(DECISIVE), ~Answer.measures)
    if session.scalar(decisive.limit(1)) is None:
        raise BadInput(_("There is nothing to learn from yet. Label some pairs first."))


def _parents(session: Session, project: Project, kind: str, params: dict[str, Any]) -> dict[str, Any]:
    """The checkpoints a run needs, found or checked; BadInput says what to train first."""
    found: dict[str, Any] = {}
    if "reward" in params:
        found["reward"] = str(checkpoints.named(session, project, params["reward"], "reward").id)
    elif checkpoints.promoted(session, project.id, "reward") is None:
        raise BadInput(_("There is no reward model in use yet. Train one first, or start the whole chain."))
    if kind == "evaluate":
        candidate = (
            checkpoints.named(session, project, params["checkpoint"], "policy")
            if "checkpoint" in params
            else checkpoints.newest_candidate(session, project.id, "policy")
        )
        if candidate is None:
            raise BadInput(_("There is no candidate to evaluate. Train a policy with PPO or DPO first."))
        found["checkpoint"] = str(candidate.id)
    return found
