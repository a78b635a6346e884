"""Which column of a row is what: the names that people give them, a mapping that may be changed, values made plain."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import BadInput
from app.languages import _

Row = Mapping[str, Any]
Columns = Mapping[str, str]
"""Part of a prompt or comparison -> the column that has it; a part that is not named is not there."""

LABELS = {
    "tags": ("tags", "categories", "category", "topic"),
    "language": ("language", "lang", "sprache", "locale"),
    "needs": ("needs", "skills"),
    "source": ("source", "origin"),
    "priority": ("priority",),
}
SAID = {"strength": ("strength",), "rationale": ("rationale", "justification", "reason", "feedback", "comment")}
PROMPT = (
    "prompt",
    "question",
    "instruction",
    "query",
    "user_prompt",
    "request",
    "input",
    "text",
    "user",
    "message",
    "content",
)
MESSAGES = ("messages", "conversation", "conversations", "chat", "dialogue", "turns")
CONTEXT = ("input", "context")
"""What an instruction is about, in the layout of Alpaca."""
FIRST = ("response_a", "answer_a", "completion_a", "output_a", "response_1", "answer_1", "completion_1", "output_1")
SECOND = ("response_b", "answer_b", "completion_b", "output_b", "response_2", "answer_2", "completion_2", "output_2")
WINNER = ("winner", "preferred", "preference", "better", "choice", "label", "selected", "comparison", "pairwise", "pw")
MANY = ("completions", "responses", "answers", "generations", "outputs", "candidates")
SCORES = ("scores", "ratings", "ranks", "rewards")
CHOSEN = ("chosen", "chosen_response", "preferred_response", "accepted", "positive")
REJECTED = ("rejected", "rejected_response", "dispreferred_response", "negative")
PAIRED = ("conversation_a", "conversation_b")

ROLES = {"human": "user", "prompter": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
LONGEST_CONVERSATION = 1000

USUAL_NAMES = frozenset((*PROMPT, *MESSAGES, *FIRST, *SECOND, *MANY, *CHOSEN, *REJECTED, *PAIRED, "tags", "language"))
"""Column names, one of which makes a line with separators the head of a table."""


def plain(name: str) -> str:
    """A column's name for comparing: `Response-A`, `responseA` and `response a` are all `response_a`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def usual(parts: Mapping[str, Sequence[str]], columns: Sequence[str]) -> dict[str, str]:
    """The columns that by their names are these parts; each column is one part at most, the first that asks."""
    free = {plain(column): column for column in reversed(columns)}
    found = {}
    for part, names in parts.items():
        for name in names:
            if name in free:
                found[part] = free.pop(name)
                break
    return found


def cell(row: Row, columns: Columns, part: str) -> Any:
    """What a row has for a part; None where it has nothing (an empty text is nothing)."""
    column = columns.get(part)
    value = row.get(column) if column else None
    return None if isinstance(value, str) and not value.strip() else value


def text_or_turns(value: Any) -> Any:
    """A text as it is; a conversation, even as JSON within a text, as turns of role and content."""
    if isinstance(value, str) and re.match(r"\s*\[\s*\{", value):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return turns(found) if all(isinstance(turn, dict) and _role(turn) for turn in found) else value
    return turns(value) if isinstance(value, list) else value


def turns(value: Any) -> Any:
    """A conversation as `[{role, content}]`: ShareGPT's `from` and `value`, and content in parts, are made plain."""
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        return value
    if len(value) > LONGEST_CONVERSATION:
        raise BadInput(_("A conversation may have at most {most:,} turns.").format(most=LONGEST_CONVERSATION))
    return [{"role": _role(turn), "content": _content(turn.get("content", turn.get("value")))} for turn in value]


def _role(turn: Mapping[str, Any]) -> Any:
    role = turn.get("role", turn.get("from"))
    return ROLES.get(role, role) if isinstance(role, str) else role


def _content(given: Any) -> Any:
    if isinstance(given, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in given):
        return "\n".join(str(part.get("text", "")) for part in given)
    return given


def several(value: Any) -> Any:
    """A list from a text with commas or semicolons, or from a JSON list in a text."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            pass
    return [name.strip() for name in re.split(r"[,;]", value) if name.strip()]


def number(value: Any) -> Any:
    """A whole number that a table gave as text or with a point; anything else as it is."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,9}(\.0+)?\s*", value):
        return int(float(value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


READ = {"tags": several, "needs": several, "priority": number}


def labels(row: Row, columns: Columns) -> dict[str, Any]:
    """The parts of LABELS that a row has, as `labels_of` reads them: tags by comma, priority a number."""
    found = {part: cell(row, columns, part) for part in LABELS if part in columns}
    for part, made_of in READ.items():
        if part in found:
            found[part] = made_of(found[part])
    return found


def said(row: Row, columns: Columns) -> dict[str, Any]:
    """Strength and rationale where a row has them."""
    found = {"strength": number(cell(row, columns, "strength")), "rationale": cell(row, columns, "rationale")}
    return {part: value for part, value in found.items() if value is not None}
