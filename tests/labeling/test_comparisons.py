"""Prompts and comparisons come in checked, once, and with a hold-out that follows from the text."""

import hashlib
import json
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.errors import BadInput
from app.labeling.comparisons import (
    add_comparison,
    add_response,
    find_or_add_prompt,
    is_holdout,
    prompt_hash,
    waiting,
)
from tests.people import make_project


def said(text: str, role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": text}]


def test_the_hash_is_that_of_a_text_anybody_can_write_down() -> None:
    assert prompt_hash(said("Name  two\n trees ")) == hashlib.sha256(b'[["user","Name two trees"]]').hexdigest()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("caf\u00e9", "cafe\u0301", True),
        ("a\u00a0b", "a b", True),
        ("Tree", "tree", False),
        ("ab", "a b", False),
    ],
)
def test_the_hash_knows_the_same_text_again(one: str, other: str, same: bool) -> None:
    assert (prompt_hash(said(one)) == prompt_hash(said(other))) is same


def test_the_hash_is_that_of_json_whatever_the_text_has_in_it() -> None:
    turns = said("be brief", "system") + said('a "b"\\c\x01 \u2028 \U0001f600 \uac00')
    json_text = json.dumps(
        [[turn["role"], turn["content"]] for turn in turns], ensure_ascii=False, separators=(",", ":")
    )
    # The line separator is white space, as every blank is.
    normal = json_text.replace(" \u2028 ", " ").encode()
    assert prompt_hash(turns) == hashlib.sha256(normal).hexdigest()


def test_the_hash_includes_who_spoke_and_where_a_turn_ends() -> None:
    assert prompt_hash(said("Hi", "user")) != prompt_hash(said("Hi", "system"))
    assert prompt_hash(said("a") + said("b")) != prompt_hash(said('a"],["user","b'))


def test_one_prompt_in_ten_is_held_out() -> None:
    assert is_holdout("0000000a" + "f" * 56)
    assert not is_holdout("0000000b" + "f" * 56)
    share = sum(is_holdout(prompt_hash(said(f"Question {n}"))) for n in range(5000)) / 5000
    assert 0.08 < share < 0.12


def test_the_same_prompt_is_added_once(session: Session) -> None:
    project = make_project(session)
    first, added = find_or_add_prompt(session, project, said("Name a tree"), sampled=False, tags=["plants"])
    again, added_again = find_or_add_prompt(session, project, said("Name  a tree"), sampled=False, tags=["other"])
    assert (added, added_again, again.id, again.tags) == (True, False, first.id, ["plants"])
    elsewhere, added = find_or_add_prompt(session, make_project(session, "other"), said("Name a tree"), sampled=True)
    assert added
    assert elsewhere.id != first.id


def test_a_prompt_from_a_comparison_is_sampled_once_it_is_brought_as_a_prompt(session: Session) -> None:
    project = make_project(session)
    prompt, _ = find_or_add_prompt(session, project, said("Name a tree"), sampled=False)
    find_or_add_prompt(session, project, said("Name a tree"), sampled=True)
    assert prompt.sampled
    find_or_add_prompt(session, project, said("Name a tree"), sampled=False)
    assert prompt.sampled


def test_a_comparison_of_a_held_out_prompt_is_never_for_training(session: Session) -> None:
    project = make_project(session)
    questions = [f"Question {n}" for n in range(100)]
    held_out = next(text for text in questions if is_holdout(prompt_hash(said(text))))
    trained = next(text for text in questions if not is_holdout(prompt_hash(said(text))))
    purposes = []
    for text in (held_out, trained):
        prompt, _ = find_or_add_prompt(session, project, said(text), sampled=False)
        a, b = (add_response(session, prompt, answer, source="import") for answer in ("Yes.", "No."))
        purposes.append(add_comparison(session, project, prompt, a, b, source="import").purpose)
    assert purposes == ["holdout", "train"]
    assert waiting(session, project.id) == 2


def test_equal_or_foreign_responses_are_refused(session: Session) -> None:
    project = make_project(session)
    prompt, _ = find_or_add_prompt(session, project, said("Name a tree"), sampled=False)
    other, _ = find_or_add_prompt(session, project, said("Name a bird"), sampled=False)
    oak, same, lark = (
        add_response(session, of, text, source="import")
        for of, text in ((prompt, "Oak"), (prompt, "Oak "), (other, "Lark"))
    )
    with pytest.raises(BadInput, match="say the same"):
        add_comparison(session, project, prompt, oak, same, source="import")
    with pytest.raises(BadInput, match="own prompt"):
        add_comparison(session, project, prompt, oak, lark, source="import")
    with pytest.raises(BadInput, match="is empty"):
        add_response(session, prompt, " \n", source="sample")
