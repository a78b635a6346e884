"""Ready-made comparisons: a prompt with two responses from outside, with somebody's answer or waiting for one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from app.accounts import audit
from app.errors import BadInput
from app.labeling.comparisons import is_holdout, prompt_hash
from app.messages import check_text, conversation, response_text
from app.models import FLAGS, Answer, Comparison, Project, Prompt, Response
from app.prompts.bodies import Entry
from app.prompts.prompts import AT_ONCE, Added, labels_of, lock

SAID = {0: "a", 1: "b", "0": "a", "1": "b", "a": "a", "b": "b"}
UNDECIDED = ("tie", "both_bad")
BETTER = 2
"""The strength of an answer that does not say how much better: the middle of 1 to 3."""
FORM = 'Give two "responses", or "chosen" and "rejected".'


@dataclass(frozen=True)
class Brought:
    """One checked entry: what is compared, and what was said about it (no verdict: nothing yet)."""

    messages: list[dict[str, Any]]
    hash: str
    a: str
    b: str
    verdict: str | None
    preferred: str | None
    strength: int | None
    rationale: str
    flags: list[str]
    gold: bool
    labels: dict[str, Any]

    @property
    def key(self) -> tuple[str, frozenset[str]]:
        """The same prompt with the same two texts, whichever way round, is the same comparison."""
        return self.hash, frozenset((self.a.strip(), self.b.strip()))


def add(session: Session, project: Project, items: Iterable[Entry], source: str = "") -> Added:
    """Bring comparisons in; what cannot be used is listed with its line and a reason, everything else is taken.

    Each item has `prompt` (or `messages`) and either two `responses`, with `preferred` (0, 1, "tie" or "both_bad")
    where it was answered, or `chosen` and `rejected`; `strength` 1 to 3, `rationale`, `flags` and what `labels_of`
    reads where wanted. One that was answered is complete with an imported answer, which names nobody; the others wait.
    With `gold` true the answer is what is right about a gold comparison instead.
    """
    lock(session, project)
    result = Added()
    rest = iter(items)
    while some := list(islice(rest, AT_ONCE)):
        _add_some(session, project, some, source, result)
    if result.added:
        audit.record(session, "imported", project=project, comparisons=result.added, source=source)
    return result


def _add_some(session: Session, project: Project, entries: Sequence[Entry], source: str, result: Added) -> None:
    checked = []
    for entry in entries:
        try:
            checked.append(_checked(entry, source))
        except BadInput as problem:
            result.reject(entry, problem.message)
    known = _known(session, project, {one.hash for one in checked})
    new = []
    for one in checked:
        if one.key not in known:
            known.add(one.key)
            new.append(one)
    if new:
        _store(session, project, new)
    result.added += len(new)
    result.duplicates += len(checked) - len(new)


def _known(session: Session, project: Project, hashes: set[str]) -> set[tuple[str, frozenset[str]]]:
    """The comparisons that the project has for these prompts, as keys."""
    a, b = aliased(Response), aliased(Response)
    query = (
        select(Prompt.hash, a.text, b.text)
        .join(Comparison, Comparison.prompt_id == Prompt.id)
        .join(a, a.id == Comparison.response_a_id)
        .join(b, b.id == Comparison.response_b_id)
        .where(Prompt.project_id == project.id, Prompt.hash.in_(hashes))
    )
    return {(hash, frozenset((one.strip(), other.strip()))) for hash, one, other in session.execute(query)}


def _store(session: Session, project: Project, brought: list[Brought]) -> None:
    """Four inserts for all of them: prompts that are new (never sampled), responses, comparisons, answers."""
    prompts: dict[str, dict[str, Any]] = {}
    for one in brought:
        told = {"project_id": project.id, "messages": one.messages, "hash": one.hash, "holdout": is_holdout(one.hash)}
        prompts.setdefault(one.hash, {**told, "sampled": False, **one.labels})
    session.execute(insert(Prompt).on_conflict_do_nothing(), list(prompts.values()))
    found = select(Prompt).where(Prompt.project_id == project.id, Prompt.hash.in_(prompts))
    known = {prompt.hash: prompt for prompt in session.scalars(found)}
    responses = _insert(
        session,
        Response,
        [
            {"prompt_id": known[one.hash].id, "text": text, "source": "import"}
            for one in brought
            for text in (one.a, one.b)
        ],
    )
    comparisons = _insert(
        session,
        Comparison,
        [
            {
                "project_id": project.id,
                "prompt_id": known[one.hash].id,
                "response_a_id": a,
                "response_b_id": b,
                "purpose": "gold" if one.gold else "holdout" if is_holdout(one.hash) else "train",
                "expected_verdict": one.verdict if one.gold else None,
                "expected_preferred": one.preferred if one.gold else None,
                "source": "import",
                "status": "waiting" if one.verdict is None or one.gold else "complete",
                "counted": 0 if one.verdict is None or one.gold else 1,
                "priority": one.labels["priority"],
                "needs": sorted({*known[one.hash].needs, *one.labels["needs"]}),
            }
            for one, a, b in zip(brought, responses[::2], responses[1::2], strict=True)
        ],
    )
    answers = [
        {
            "project_id": project.id,
            "comparison_id": comparison,
            "verdict": one.verdict,
            "preferred": one.preferred,
            "strength": one.strength,
            "rationale": one.rationale,
            "flags": one.flags,
            "source": "import",
        }
        for one, comparison in zip(brought, comparisons, strict=True)
        if one.verdict is not None and not one.gold
    ]
    if answers:
        session.execute(insert(Answer), answers)


def _insert(session: Session, table: type[Response] | type[Comparison], rows: list[dict[str, Any]]) -> Sequence[int]:
    """Insert many rows at once and return their ids in the same order."""
    return session.scalars(insert(table).returning(table.id, sort_by_parameter_order=True), rows).all()


def _checked(entry: Entry, source: str) -> Brought:
    if entry.why:
        raise BadInput(entry.why)
    value = entry.value
    if not isinstance(value, dict):
        raise BadInput(f"A comparison must be an object with a prompt. {FORM}")
    (first, second), verdict, preferred = _sides(value)
    given = value["messages"] if "messages" in value else value.get("prompt")
    messages = conversation(_shared(first, second) if given is None else given)
    a, b = response_text(first, messages, "first"), response_text(second, messages, "second")
    if a.strip() == b.strip():
        raise BadInput("Both responses say the same, so there is nothing to compare.")
    return Brought(
        messages,
        prompt_hash(messages),
        a,
        b,
        verdict,
        preferred,
        _strength(value.get("strength")) if preferred else None,
        _rationale(value.get("rationale")),
        _flags(value.get("flags")),
        _gold(value.get("gold"), verdict),
        labels_of(value, source),
    )


def _sides(value: dict[str, Any]) -> tuple[tuple[Any, Any], str | None, str | None]:
    """Both responses as they were given, and the verdict and the preferred one ("a", "b") where there is an answer."""
    responses = value.get("responses")
    if responses is None:
        if value.get("chosen") is None or value.get("rejected") is None:
            raise BadInput(f"There are no two responses here. {FORM}")
        return (value["chosen"], value["rejected"]), "preferred", "a"
    if value.get("chosen") is not None or value.get("rejected") is not None:
        raise BadInput(f"This has more than one pair. {FORM}")
    if not isinstance(responses, list) or len(responses) != 2:
        raise BadInput('"responses" must be a list of exactly two.')
    said = value.get("preferred")
    if said is None:
        return (responses[0], responses[1]), None, None
    if isinstance(said, int | str) and not isinstance(said, bool):
        if said in UNDECIDED:
            return (responses[0], responses[1]), str(said), None
        if said in SAID:
            return (responses[0], responses[1]), "preferred", SAID[said]
    raise BadInput(f'"preferred" must be 0 (the first), 1 (the second), "tie" or "both_bad", not {said!r:.60}.')


def _shared(first: Any, second: Any) -> Any:
    """The prompt inside two whole conversations: everything before the last turn, where that is the same in both."""
    if isinstance(first, list) and isinstance(second, list) and len(first) > 1 and first[:-1] == second[:-1]:
        return first[:-1]
    return None


def _strength(given: Any) -> int:
    if given is None:
        return BETTER
    if isinstance(given, bool) or given not in (1, 2, 3):
        raise BadInput(f"strength must be 1 (slightly), 2 or 3 (much better), not {given!r:.60}.")
    return int(given)


def _rationale(given: Any) -> str:
    return "" if given is None or given == "" else check_text(given, "The rationale")


def _flags(given: Any) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, list) or not all(flag in FLAGS for flag in given):
        raise BadInput(f"flags must be a list of some of {', '.join(FLAGS)}.")
    return list(dict.fromkeys(given))


def _gold(given: Any, verdict: str | None) -> bool:
    if given not in (None, True, False) or (given and verdict is None):
        raise BadInput('"gold" must be true beside the right answer (preferred, or chosen and rejected), or left out.')
    return bool(given)
