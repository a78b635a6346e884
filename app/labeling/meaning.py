"""What an annotator meant: an answer as it was spoken, checked against what the project asks, as columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from app.accounts.access import Access
from app.errors import BadInput
from app.labeling.words import SKIP_REASONS
from app.languages import _
from app.messages import check_storable
from app.models import DECISIVE, FLAGS, VERDICTS, Assignment
from app.models.policies import Labeling

LONGEST_RATIONALE = 10_000


@dataclass(frozen=True)
class Spoken:
    """An answer in the words of the page or the API.

    `preferred` and each of `criteria`: `left`, `right` or the id of a response; a criterion may also be a `tie`.
    `seconds`: what the browser measured.
    """

    verdict: str
    preferred: str | None = None
    strength: int | None = None
    rationale: str = ""
    flags: Sequence[str] = ()
    criteria: dict[str, str] = field(default_factory=dict)
    skip_reason: str | None = None
    seconds: float | None = None
    source: str = "api"


def columns_of(access: Access, assignment: Assignment | None, spoken: Spoken) -> dict[str, Any]:
    """What was said as columns of an answer, checked against the project's policy; BadInput with a sentence."""
    policy = Labeling.from_json(access.project.labeling)
    if spoken.verdict not in VERDICTS:
        raise BadInput(f"verdict must be one of {', '.join(VERDICTS)}, not {spoken.verdict!r}.")
    names = _names(assignment)
    return {
        "verdict": spoken.verdict,
        "preferred": _preferred(spoken, names),
        "strength": _strength(spoken, policy),
        "skip_reason": _skip_reason(spoken),
        "flags": _flags(spoken),
        "criteria": _criteria(spoken, policy, names),
        "rationale": _rationale(spoken, policy),
    }


def handles(assignment_id: int) -> tuple[str, str]:
    """The names of the left and the right response in an assignment.

    Their own ids would tell how old they are, and so which comparisons only slip in.
    """
    return f"{assignment_id}-1", f"{assignment_id}-2"


def _names(assignment: Assignment | None) -> dict[str, str]:
    """What either response may be called -> a or b."""
    left = assignment.shown_left if assignment else "a"
    sides = {"left": left, "right": "b" if left == "a" else "a"}
    if assignment is None:
        return sides
    return sides | dict(zip(handles(assignment.id), sides.values(), strict=True))


def _preferred(spoken: Spoken, names: dict[str, str]) -> str | None:
    if spoken.verdict != "preferred":
        if spoken.preferred is not None:
            raise BadInput(f"preferred belongs to the verdict preferred, not to {spoken.verdict}. Leave it out.")
        return None
    if spoken.preferred not in names:
        first, second = list(names)[-2:]
        raise BadInput(
            f"preferred must be the id of the better response, {first} or {second}, not {spoken.preferred!r}."
        )
    return names[spoken.preferred]


def _strength(spoken: Spoken, policy: Labeling) -> int | None:
    if spoken.verdict != "preferred":
        if spoken.strength is not None:
            raise BadInput(f"strength belongs to the verdict preferred, not to {spoken.verdict}. Leave it out.")
        return None
    if spoken.strength is None and policy.strengths == 1:
        return 1
    if spoken.strength is None or not 1 <= spoken.strength <= policy.strengths:
        steps = "1" if policy.strengths == 1 else f"from 1 (slightly) to {policy.strengths}"
        raise BadInput(f"strength must be {steps} in this project, not {spoken.strength!r}.")
    return spoken.strength


def _skip_reason(spoken: Spoken) -> str | None:
    reason = (spoken.skip_reason or "").strip()
    if reason and spoken.verdict != "skipped":
        raise BadInput(f"skip_reason belongs to the verdict skipped, not to {spoken.verdict}. Leave it out.")
    if reason and reason not in SKIP_REASONS:
        # Words of one's own are a rationale, which an erasure finds again.
        raise BadInput(
            f"{reason:.60} is no reason to skip. Known are {', '.join(SKIP_REASONS)}; say more in the rationale."
        )
    return reason or None


def _flags(spoken: Spoken) -> list[str]:
    unknown = sorted(set(spoken.flags) - set(FLAGS))
    if unknown:
        raise BadInput(f"{unknown[0]!r} is not a flag. Known are {', '.join(FLAGS)}.")
    return [flag for flag in FLAGS if flag in spoken.flags]


def _criteria(spoken: Spoken, policy: Labeling, names: dict[str, str]) -> dict[str, str]:
    unknown = sorted(set(spoken.criteria) - set(policy.criteria))
    if unknown:
        known = ", ".join(policy.criteria) or "none"
        raise BadInput(f"{unknown[0]!r} is not a criterion of this project. Known are: {known}.")
    values = {**names, "tie": "tie"}
    for name, said in spoken.criteria.items():
        if said not in values:
            raise BadInput(f"The criterion {name!r} must be the id of a response or tie, not {said!r}.")
    return {name: values[said] for name, said in spoken.criteria.items()}


def _rationale(spoken: Spoken, policy: Labeling) -> str:
    rationale = spoken.rationale.replace("\r\n", "\n").strip()
    if rationale and policy.rationale == "off":
        raise BadInput(_("This project asks for no reason. Leave rationale empty."))
    if not rationale and policy.rationale == "required" and spoken.verdict in DECISIVE:
        raise BadInput(_("This project asks for a reason. Say in a few words why, then send again."))
    return _storable(rationale, "rationale", LONGEST_RATIONALE)


def _storable(text: str, name: str, longest: int) -> str:
    if len(text) > longest:
        raise BadInput(
            _("{name} has {n:,} characters; at most {longest:,} are kept. Shorten it.").format(
                name=name, n=len(text), longest=longest
            )
        )
    return check_storable(text, name)
