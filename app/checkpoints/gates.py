"""Gates: whether what a training run made is good enough for the loop to go on, or was forced past."""

from typing import Any


def judge(verdict: dict[str, Any] | None, *, forced: bool) -> dict[str, Any]:
    """The child's verdict with what the operator decided: `{"passed": bool, "why": sentence, "forced": bool}`."""
    verdict = verdict or {"passed": True, "why": "Nothing had to be judged."}
    return {"passed": bool(verdict["passed"]), "why": str(verdict["why"]), "forced": forced}


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
