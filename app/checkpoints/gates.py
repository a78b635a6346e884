"""Gates: whether what a training run made is good enough for the loop to go on, or was forced past."""

from dataclasses import asdict, dataclass
from typing import Any

from app.languages import N_, _
from app.models.policies import Gates

NAMES = {
    "accuracy": N_("Tells people's choices apart"),
    "latest": N_("Tells the newest policy's own answers apart"),
    "beat_length": N_("Beats a rule that looks at length alone"),
    "win_rate": N_("Wins by the reward model"),
    "equal_length": N_("Wins at equal length"),
    "kl_budget": N_("Close enough to the base model"),
    "unspoilt": N_("Neither repeats itself nor rambles"),
    "people": N_("Preferred by people, blindly"),
}
"""What each check asks, in words."""


SAID = ("spoilt", "reached")
"""What a run's own verdict says beside its figures."""
CHANCE = 0.5


@dataclass(frozen=True)
class Check:
    """One thing that a model must reach: what was found, if chance is allowed for, and the number it must lie beyond.

    For `kl_budget` and `beat_length` the number itself will do. `found` is None where nothing was measured yet.
    """

    name: str
    passed: bool
    found: float | None = None
    needed: float | None = None


def judge(
    kind: str,
    verdict: dict[str, Any] | None,
    metrics: dict[str, Any],
    policy: Gates,
    *,
    forced: bool,
    kl_budget: float | None = None,
) -> dict[str, Any]:
    """What a run of this kind found against the project's gates, with what the operator decided.

    Returns `{"passed": bool, "why": sentence, "forced": bool}` and, where there were any, `"checks": [Check]`.
    `kl_budget` is that of the run's own settings. Where the run reported no figures to check, its own verdict stands;
    where both agree, its own words do.
    """
    verdict = verdict or {"passed": True, "why": _("Nothing had to be judged.")}
    found = checks(kind, {**metrics, **{name: verdict.get(name) for name in SAID}}, policy, kl_budget)
    passed = all(check.passed for check in found) if found else bool(verdict["passed"])
    why = str(verdict["why"])
    if passed != bool(verdict["passed"]):
        why = _says(found, passed)
    gate = {"passed": passed, "why": why, "forced": forced}
    return gate | ({"checks": [asdict(check) for check in found]} if found else {})


def checks(kind: str, metrics: dict[str, Any], policy: Gates, kl_budget: float | None = None) -> list[Check]:
    """The checks that the project's gates ask of a run's figures; none where the run reported none of them."""
    if kind == "reward" and "accuracy_low" in metrics:
        found = [_beyond("accuracy", metrics["accuracy_low"], policy.accuracy)]
        # None where too few answers are about the newest policy's responses.
        if metrics.get("reached") is not None:
            found.append(_beyond("latest", metrics["latest_low"], min(CHANCE, policy.accuracy)))
        if policy.beat_length:
            share, baseline = metrics["accuracy"], metrics.get("length_baseline", 0.0)
            found.append(Check("beat_length", share >= baseline, share, baseline))
        return found
    if kind == "evaluate" and "win_low" in metrics:
        budget = kl_budget if policy.kl_budget is None else policy.kl_budget
        found = [_beyond("win_rate", metrics["win_low"], policy.win_rate)]
        if policy.equal_length:
            found.append(_beyond("equal_length", metrics["win_length_controlled"], policy.win_rate))
        if budget is not None:
            # Evaluations of before measured no interval.
            nats = metrics.get("kl_low", metrics["kl"])
            found.append(Check("kl_budget", nats <= budget, nats, budget))
        return [*found, Check("unspoilt", not metrics.get("spoilt"))]
    return []


def with_people(gate: dict[str, Any], low: float | None, policy: Gates) -> dict[str, Any]:
    """The gate with what people said added to it: the lower end of the interval of the candidate's share.

    Said again, it takes the place of what they said before; `before` keeps what the gate was without people.
    """
    check = _beyond("people", low, policy.people_rate)
    others = [one for one in gate.get("checks", []) if one["name"] != "people"]
    unjudged = {"passed": bool(gate.get("passed")), "why": gate.get("why", _("It was not evaluated yet."))}
    before = gate.get("before", unjudged)
    passed = before["passed"] and check.passed
    known = {"forced": False, **gate, **before, "before": before}
    return known | {"passed": passed, "checks": [*others, asdict(check)]}


def failed(gate: dict[str, Any]) -> list[dict[str, Any]]:
    """The checks that a candidate did not pass."""
    return [one for one in gate.get("checks", []) if not one["passed"]]


def is_open(gate: dict[str, Any]) -> bool:
    """Whether the loop may go on: the gate passed, or an operator chose beforehand to go past it."""
    return bool(gate["passed"] or gate["forced"])


def sentence(gate: dict[str, Any]) -> str:
    """What the gate said, for the run's page."""
    if not gate["passed"] and gate["forced"]:
        return f"{gate['why']} It was forced past the gate."
    return str(gate["why"])


def stop_sentence(step: str, gate: dict[str, Any]) -> str:
    """Why a chain ends at this step, and what an operator can do."""
    return (
        f"The chain stopped after the step “{step}”: {gate['why']} "
        "To go past the gate all the same, start the chain again with “go on past the gates”."
    )


def _beyond(name: str, found: float | None, needed: float) -> Check:
    return Check(name, found is not None and found > needed, found, needed)


def _says(found: list[Check], passed: bool) -> str:
    if passed:
        return _("It passes the gates that this project has set.")
    named = ", ".join(_(NAMES[check.name]) for check in found if not check.passed)
    return _("It fails gates that this project has set: {named}.").format(named=named)
