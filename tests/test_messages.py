"""Conversations and texts come in checked; each refusal is a sentence that says what to do."""

from typing import Any

import pytest

from app.errors import BadInput
from app.messages import check_messages, conversation, response_text


def said(text: str, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": text}]


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ("Hello", "must be a list"),
        ([], "at least one message"),
        (["Hello"], "Message 1 must be an object"),
        (said("Hi", "robot"), "Use system, user or assistant"),
        (said("   "), "Message 1 is empty"),
        ([{"role": "user"}], "Message 1 must be text"),
        (said("a\x00b"), "NUL character"),
        (said("a\ud800b"), "surrogate"),
        (said("Hi") + said("Hello", "assistant"), "last message must be from the user"),
    ],
)
def test_a_conversation_that_cannot_be_answered_is_refused(messages: Any, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        check_messages(messages)


def test_only_role_and_content_are_kept() -> None:
    assert check_messages([{"role": "user", "content": " Hi ", "name": "Ann"}]) == said(" Hi ")


def test_a_text_alone_is_one_user_turn() -> None:
    assert conversation("Name a tree.") == said("Name a tree.")
    assert conversation(said("Hi")) == said("Hi")
    with pytest.raises(BadInput, match="no prompt here"):
        conversation(None)


@pytest.mark.parametrize(
    "given", ["Oak.", said("Oak.", "assistant"), [*said("Name a tree."), *said("Oak.", "assistant")]]
)
def test_a_response_is_a_text_a_turn_or_the_end_of_the_conversation(given: Any) -> None:
    assert response_text(given, said("Name a tree."), "first") == "Oak."


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "The first response is empty"),
        (7, "The first response must be text, not int"),
        (said("Oak."), "must end with an assistant turn"),
        ([*said("Name a fish."), *said("Oak.", "assistant")], "goes on from another conversation"),
    ],
)
def test_what_is_no_response_to_this_prompt_is_refused(given: Any, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        response_text(given, said("Name a tree."), "first")
