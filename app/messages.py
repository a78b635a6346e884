"""Conversations and texts as people and programs send them: the shapes that are accepted, each refusal a sentence."""

from collections.abc import Sequence
from typing import Any

from app.errors import BadInput

ROLES = ("system", "user", "assistant")


def conversation(given: object) -> list[dict[str, Any]]:
    """A prompt's messages, checked; a text alone is one user turn."""
    if given is None:
        raise BadInput('There is no prompt here. Give it as "prompt" (a text) or "messages" (a list of turns).')
    if isinstance(given, str):
        return [{"role": "user", "content": check_text(given, "The prompt")}]
    return check_messages(given)


def check_text(text: object, what: str) -> str:
    """The text itself; raises BadInput where it is empty or cannot be stored. `what` begins the sentence."""
    if not isinstance(text, str):
        raise BadInput(f"{what} must be text, not {type(text).__name__}.")
    if not text.strip():
        raise BadInput(f"{what} is empty. Write something there.")
    return check_storable(text, what)


def check_storable(text: str, what: str) -> str:
    """The text itself; raises BadInput where it has a character that Postgres does not keep."""
    if "\x00" in text:
        raise BadInput(f"{what} has a NUL character, which cannot be stored. Remove it.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what} has half of a surrogate pair, which is no character. Save it as UTF-8.") from None
    return text


def check_messages(messages: object) -> list[dict[str, Any]]:
    """A conversation that ends with a user turn, as `role` and `content` only; raises BadInput with a sentence."""
    if not isinstance(messages, list | tuple) or not messages:
        raise BadInput('A prompt must be a list with at least one message, such as {"role": "user", "content": "…"}.')
    checked = []
    for number, turn in enumerate(messages, 1):
        if not isinstance(turn, dict):
            raise BadInput(f"Message {number} must be an object with role and content, not {type(turn).__name__}.")
        if turn.get("role") not in ROLES:
            raise BadInput(f"Message {number} has the role {turn.get('role')!r}. Use system, user or assistant.")
        checked.append({"role": turn["role"], "content": check_text(turn.get("content"), f"Message {number}")})
    if checked[-1]["role"] != "user":
        raise BadInput("The last message must be from the user, so that there is something to answer.")
    return checked


def response_text(given: object, messages: Sequence[dict[str, Any]], name: str) -> str:
    """A response's text: given as such, as one assistant turn, or at the end of the whole conversation.

    `name` says which one it is ("first") where it cannot be one: BadInput.
    """
    if isinstance(given, list) and given:
        last = given[-1]
        if not isinstance(last, dict) or last.get("role") != "assistant":
            raise BadInput(f"The {name} response must end with an assistant turn.")
        if len(given) > 1 and check_messages(given[:-1]) != list(messages):
            raise BadInput(f"The {name} response goes on from another conversation than the prompt.")
        given = last.get("content")
    return check_text(given, f"The {name} response")
