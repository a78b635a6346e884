"""Prompts: brought in by the thousand, and as programs read them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.accounts import abilities, audit
from app.errors import BadInput
from app.labeling.comparisons import is_holdout, prompt_hash
from app.languages import _
from app.messages import check_text, conversation
from app.models import Project, Prompt
from app.prompts.bodies import Entry
from app.prompts.copying import insert_prompts, line
from app.prompts.tables import as_line
from app.runs import due

AT_ONCE = 5000
MOST_TOLD = 1000
"""How many refused entries are told one by one; the others are only counted."""
HIGHEST_PRIORITY = 1_000_000
_quoted = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True)
class Rejected:
    line: int
    why: str
    raw: bytes


@dataclass
class Added:
    """What came of an import. `rejected` holds the first of the `refused`, no more than `most_told`."""

    most_told: int = MOST_TOLD
    added: int = 0
    duplicates: int = 0
    refused: int = 0
    rejected: list[Rejected] = field(default_factory=list)

    def add(self, added: int, duplicates: int, wrong: Iterable[tuple[Entry, str]]) -> None:
        """Count what became of some of the items."""
        self.added += added
        self.duplicates += duplicates
        for entry, why in wrong:
            self.refused += 1
            if len(self.rejected) < self.most_told:
                raw = entry.raw or (b"" if entry.row is None else as_line(entry.row))
                self.rejected.append(Rejected(entry.line, why, raw))

    def to_json(self) -> dict[str, Any]:
        told = [{"line": one.line, "why": one.why} for one in self.rejected]
        return {"added": self.added, "duplicates": self.duplicates, "rejected": told, "rejected_total": self.refused}


@dataclass
class Checked:
    """Prompts that were looked at and may be stored: each once, as COPY reads it, by its hash."""

    lines: dict[str, str] = field(default_factory=dict)
    good: int = 0
    """How many there were, with those that stood there twice."""
    wrong: list[tuple[Entry, str]] = field(default_factory=list)
    """What cannot be used, and why."""


def add(
    session: Session,
    project: Project,
    items: Iterable[Entry],
    source: str = "",
    *,
    run_id: int | None = None,
    most_told: int = MOST_TOLD,
) -> Added:
    """Bring prompts in; what cannot be used is listed with its line and a reason, everything else is taken.

    Each item is a string, `{"prompt": …}` or `{"messages": […]}`, with what `labels_of` reads where wanted.
    Known prompts (by the hash of their normalised text) count as duplicates. `run_id` is the import that brings them.
    """
    return store(session, project, looked_at(items, source), source, run_id=run_id, most_told=most_told)


def looked_at(items: Iterable[Entry], source: str) -> Iterator[Checked]:
    """The items, a part at a time, as they would be stored; asks the database nothing."""
    rest = iter(items)
    while (found := _checked(islice(rest, AT_ONCE), source)).good or found.wrong:
        yield found


def _checked(entries: Iterable[Entry], source: str) -> Checked:
    found = Checked()
    for entry in entries:
        try:
            row = checked(entry, source)
        except BadInput as problem:
            found.wrong.append((entry, problem.message))
        else:
            found.good += 1
            if row["hash"] not in found.lines:
                found.lines[row["hash"]] = line({**row, "messages": as_stored(row["messages"])})
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
        added = insert_prompts(session, project.id, run_id, part.lines, sampled=True)
        result.add(added, part.good - added, part.wrong)
    if result.added:
        audit.record(session, "imported", project=project, prompts=result.added, source=source)
        due.stock_may_be_low(session, project)
    return result


def lock(session: Session, project: Project) -> None:
    """One import at a time per project: two that bring the same prompts in another order would wait for each other."""
    session.execute(text("select pg_advisory_xact_lock(hashtext('prompts'), :project)"), {"project": project.id})


def checked(entry: Entry, source: str) -> dict[str, Any]:
    """The prompt that an entry would become; raises BadInput with a sentence where it cannot be one."""
    if entry.why:
        raise BadInput(entry.why)
    value = entry.value
    if isinstance(value, str):
        value = {"prompt": value}
    if not isinstance(value, dict):
        raise BadInput(_('A prompt must be a text or an object with "prompt" or "messages".'))
    given = value["messages"] if "messages" in value else value.get("prompt")
    messages = conversation(given)
    hash = prompt_hash(messages)
    return {"messages": messages, "hash": hash, "holdout": is_holdout(hash), **labels_of(value, source)}


def as_stored(messages: Sequence[dict[str, Any]]) -> str:
    """A conversation as the database takes it in a COPY."""
    turns = (f'{{"role": {_quoted(turn["role"])}, "content": {_quoted(turn["content"])}}}' for turn in messages)
    return f"[{', '.join(turns)}]"


def labels_of(value: dict[str, Any], source: str) -> dict[str, Any]:
    """The optional `tags`, `source`, `priority`, `language` and `needs` of an entry, checked; null is not given.

    The language is one of the needs: what somebody must know to judge the answers.
    """
    tags, priority = value.get("tags"), value.get("priority")
    if tags is not None and (not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags)):
        raise BadInput(_('tags must be a list of texts, such as ["short", "science"].'))
    if priority is not None and (
        isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > HIGHEST_PRIORITY
    ):
        raise BadInput(
            _("priority must be a whole number up to {highest_priority:,}; higher ones come first.").format(
                highest_priority=HIGHEST_PRIORITY
            )
        )
    named = value.get("source")
    return {
        "tags": list(dict.fromkeys(check_text(tag, "A tag").strip() for tag in tags or ())),
        "source": source if named is None or named == "" else check_text(named, "The source"),
        "priority": priority or 0,
        "needs": abilities.needed(value),
    }


def as_json(prompt: Prompt) -> dict[str, Any]:
    """The prompt as programs read it."""
    return {
        "id": str(prompt.id),
        "messages": prompt.messages,
        "tags": prompt.tags,
        "source": prompt.source,
        "priority": prompt.priority,
        "needs": prompt.needs,
        "holdout": prompt.holdout,
        "sampled": prompt.sampled,
        "times_sampled": prompt.times_sampled,
        "created": prompt.created_at.isoformat(),
        "withdrawn": prompt.withdrawn_at.isoformat() if prompt.withdrawn_at else None,
    }
