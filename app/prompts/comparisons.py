"""Ready-made comparisons: a prompt with two responses from outside, with somebody's answer or waiting for one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from app.accounts import audit
from app.errors import BadInput
from app.labeling.comparisons import is_holdout, prompt_hash
from app.messages import check_text, conversation, response_text
from app.models import FLAGS, Comparison, Project, Prompt, Response
from app.prompts.bodies import Entry
from app.prompts.copying import array, copy, insert_prompts, line, take_ids
from app.prompts.prompts import AT_ONCE, MOST_TOLD, Added, as_stored, labels_of, lock

SAID = {0: "a", 1: "b", "0": "a", "1": "b", "a": "a", "b": "b"}
UNDECIDED = ("tie", "both_bad")
BETTER = 2
"""The strength of an answer that does not say how much better: the middle of 1 to 3."""
MOST_ANSWERS = 1000
FORM = 'Give two "responses", or "chosen" and "rejected".'


@dataclass(frozen=True)
class Said:
    """One answer that came along; `preferred` ("a", "b") and `strength` where the verdict is "preferred"."""

    verdict: str
    preferred: str | None
    strength: int | None
    rationale: str
    flags: list[str]


@dataclass(frozen=True)
class Brought:
    """One checked entry: what is compared, and what was said about it (nothing: it waits)."""

    messages: list[dict[str, Any]]
    hash: str
    a: str
    b: str
    said: list[Said]
    gold: bool
    labels: dict[str, Any]

    @property
    def key(self) -> tuple[str, frozenset[str]]:
        """The same prompt with the same two texts, whichever way round, is the same comparison."""
        return self.hash, frozenset((self.a.strip(), self.b.strip()))


@dataclass(frozen=True)
class Checked:
    """Comparisons that were looked at and may be stored, and what cannot be used, with why."""

    good: list[Brought]
    wrong: list[tuple[Entry, str]]


def add(
    session: Session,
    project: Project,
    items: Iterable[Entry],
    source: str = "",
    *,
    run_id: int | None = None,
    most_told: int = MOST_TOLD,
) -> Added:
    """Bring comparisons in; what cannot be used is listed with its line and a reason, everything else is taken.

    Each item has `prompt` (or `messages`) and either two `responses`, with `preferred` (0, 1, "tie" or "both_bad")
    where it was answered, or `chosen` and `rejected`; `strength` 1 to 3, `rationale`, `flags` and what `labels_of`
    reads where wanted; several people's `answers` are a list of objects with `preferred` and the rest. One that was
    answered is complete with imported answers, which name nobody; the others wait. With `gold` true the one answer is
    what is right about a gold comparison instead.
    """
    return store(session, project, looked_at(items, source), source, run_id=run_id, most_told=most_told)


def looked_at(items: Iterable[Entry], source: str) -> Iterator[Checked]:
    """The items, a part at a time, as they would be stored; asks the database nothing."""
    rest = iter(items)
    while (found := _checked(islice(rest, AT_ONCE), source)).good or found.wrong:
        yield found


def _checked(entries: Iterable[Entry], source: str) -> Checked:
    found = Checked([], [])
    for entry in entries:
        try:
            found.good.append(checked(entry, source))
        except BadInput as problem:
            found.wrong.append((entry, problem.message))
    return found


def store(
    session: Session,
    project: Project,
    parts: Iterable[Checked],
    source: str,
    *,
    run_id: int | None = None,
    most_told: int = MOST_TOLD,
) -> Added:
    """Store what was `looked_at`; says what `add` says."""
    lock(session, project)
    result = Added(most_told)
    for part in parts:
        known = known_keys(session, project, {one.hash for one in part.good})
        new = []
        for one in part.good:
            if one.key not in known:
                known.add(one.key)
                new.append(one)
        if new:
            _store(session, project, new, run_id)
        result.add(len(new), len(part.good) - len(new), part.wrong)
    if result.added:
        audit.record(session, "imported", project=project, comparisons=result.added, source=source)
    return result


def known_keys(session: Session, project: Project, hashes: set[str]) -> set[tuple[str, frozenset[str]]]:
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


def _store(session: Session, project: Project, brought: list[Brought], run_id: int | None) -> None:
    """Prompts that are new (never sampled), responses, comparisons and answers, each kind in one COPY."""
    prompts: dict[str, str] = {}
    for one in brought:
        if one.hash not in prompts:
            told = {"messages": as_stored(one.messages), "hash": one.hash, "holdout": is_holdout(one.hash)}
            prompts[one.hash] = line({**told, **one.labels})
    insert_prompts(session, project.id, run_id, prompts, sampled=False)
    found = select(Prompt.hash, Prompt.id, Prompt.needs)
    found = found.where(Prompt.project_id == project.id, Prompt.hash.in_(prompts))
    known = {hash: (id, needs) for hash, id, needs in session.execute(found)}
    responses = take_ids(session, "responses", 2 * len(brought))
    texts = (
        (id, known[one.hash][0], text, "import")
        for one, a, b in zip(brought, responses[::2], responses[1::2], strict=True)
        for id, text in ((a, one.a), (b, one.b))
    )
    copy(session, "responses", ("id", "prompt_id", "text", "source"), texts)
    comparisons = take_ids(session, "comparisons", len(brought))
    rows = [
        {
            "id": id,
            "project_id": project.id,
            "prompt_id": known[one.hash][0],
            "response_a_id": a,
            "response_b_id": b,
            "purpose": "gold" if one.gold else "holdout" if is_holdout(one.hash) else "train",
            "expected_verdict": one.said[0].verdict if one.gold else None,
            "expected_preferred": one.said[0].preferred if one.gold else None,
            "source": "import",
            "status": "complete" if one.said and not one.gold else "waiting",
            "counted": 0 if one.gold else len(one.said),
            "priority": one.labels["priority"],
            "needs": array(sorted({*known[one.hash][1], *one.labels["needs"]})),
            "run_id": run_id,
        }
        for one, id, a, b in zip(brought, comparisons, responses[::2], responses[1::2], strict=True)
    ]
    copy(session, "comparisons", tuple(rows[0]), (tuple(row.values()) for row in rows))
    _store_answers(session, project, zip(comparisons, brought, strict=True))


def _store_answers(session: Session, project: Project, brought: Iterable[tuple[int, Brought]]) -> None:
    columns = ("project_id", "comparison_id", "source", "verdict", "preferred", "strength", "rationale", "flags")
    rows = (
        (project.id, id, "import", one.verdict, one.preferred, one.strength, one.rationale, array(one.flags))
        for id, pair in brought
        if not pair.gold
        for one in pair.said
    )
    copy(session, "answers", columns, rows)


def checked(entry: Entry, source: str) -> Brought:
    """The comparison that an entry would become; raises BadInput with a sentence where it cannot be one."""
    if entry.why:
        raise BadInput(entry.why)
    value = entry.value
    if not isinstance(value, dict):
        raise BadInput(f"A comparison must be an object with a prompt. {FORM}")
    (first, second), said = _sides(value)
    given = value["messages"] if "messages" in value else value.get("prompt")
    messages = conversation(_shared(first, second) if given is None else given)
    a, b = response_text(first, messages, "first"), response_text(second, messages, "second")
    if a.strip() == b.strip():
        raise BadInput("Both responses say the same, so there is nothing to compare.")
    return Brought(
        messages, prompt_hash(messages), a, b, said, _gold(value.get("gold"), said), labels_of(value, source)
    )


def _sides(value: dict[str, Any]) -> tuple[tuple[Any, Any], list[Said]]:
    """Both responses as they were given, and what was said about them."""
    responses = value.get("responses")
    if responses is None:
        if value.get("chosen") is None or value.get("rejected") is None:
            raise BadInput(f"There are no two responses here. {FORM}")
        return (value["chosen"], value["rejected"]), [_said({**value, "preferred": 0})]
    if value.get("chosen") is not None or value.get("rejected") is not None:
        raise BadInput(f"This has more than one pair. {FORM}")
    if not isinstance(responses, list) or len(responses) != 2:
        raise BadInput('"responses" must be a list of exactly two.')
    return (responses[0], responses[1]), _answers(value)


def _answers(value: dict[str, Any]) -> list[Said]:
    answers = value.get("answers")
    if answers is None and value.get("preferred") is None:
        # What would come with an answer is looked at all the same, so that no mistake passes in silence.
        _rationale(value.get("rationale"))
        _flags(value.get("flags"))
        return []
    if answers is None:
        answers = [value]
    if not isinstance(answers, list) or len(answers) > MOST_ANSWERS:
        raise BadInput(f'"answers" must be a list of at most {MOST_ANSWERS}.')
    if not all(isinstance(one, dict) for one in answers):
        raise BadInput('Each of "answers" must be an object with "preferred".')
    return [_said(one) for one in answers]


def _said(value: dict[str, Any]) -> Said:
    given = value.get("preferred")
    plain = isinstance(given, int | str) and not isinstance(given, bool)
    if not plain or (given not in UNDECIDED and given not in SAID):
        raise BadInput(f'"preferred" must be 0 (the first), 1 (the second), "tie" or "both_bad", not {given!r:.60}.')
    preferred = SAID.get(given)
    verdict = "preferred" if preferred else str(given)
    strength = _strength(value.get("strength")) if preferred else None
    return Said(verdict, preferred, strength, _rationale(value.get("rationale")), _flags(value.get("flags")))


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


def _gold(given: Any, said: list[Said]) -> bool:
    if given not in (None, True, False) or (given and len(said) != 1):
        raise BadInput(
            '"gold" must be true beside the one right answer (preferred, or chosen and rejected), or left out.'
        )
    return bool(given)
