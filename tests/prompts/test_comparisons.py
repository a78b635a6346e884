"""Ready-made pairs come in with an answer or without one, whichever of the usual shapes they have."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.labeling.comparisons import add_comparison
from app.models import Answer, Comparison, Project, Run
from app.prompts import comparisons
from app.prompts.bodies import Entry
from tests.people import make_project


def brought(*values: object) -> Iterator[Entry]:
    return (Entry(line, value, repr(value).encode()) for line, value in enumerate(values, 1))


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


def only(session: Session) -> Comparison:
    return session.scalars(select(Comparison)).one()


def said(session: Session) -> Answer | None:
    return session.scalars(select(Answer)).one_or_none()


USER = {"role": "user", "content": "Why?"}
YES, NO = ({"role": "assistant", "content": text} for text in ("Because.", "No idea."))


def test_two_responses_without_an_answer_wait(session: Session, project: Project) -> None:
    item = {"prompt": "Why?", "responses": ["Because.", "No idea."], "tags": ["t"], "source": "s", "priority": 3}
    result = comparisons.add(session, project, brought(item))
    found = only(session)
    assert result.to_json() == {"added": 1, "duplicates": 0, "rejected": [], "rejected_total": 0}
    assert (found.status, found.source, found.priority, said(session)) == ("waiting", "import", 3, None)
    assert (found.response_a.text, found.response_b.text) == ("Because.", "No idea.")
    assert (found.response_a.source, found.response_a.token_ids) == ("import", None)
    prompt = found.prompt
    assert (prompt.messages, prompt.sampled, prompt.tags, prompt.source) == ([USER], False, ["t"], "s")


def test_it_needs_what_its_prompt_needs_and_what_it_is_brought_with(session: Session, project: Project) -> None:
    first = {"prompt": "왜?", "responses": ["그래서.", "몰라."], "language": "ko"}
    second = {"prompt": "왜?", "responses": ["그래서.", "모릅니다."], "needs": ["law"]}
    comparisons.add(session, project, brought(first, second))
    found = session.scalars(select(Comparison).order_by(Comparison.id)).all()
    assert [one.needs for one in found] == [["ko"], ["ko", "law"]]
    assert found[0].prompt.needs == ["ko"]
    a, b = found[0].response_a, found[1].response_b
    assert add_comparison(session, project, found[0].prompt, a, b, source="sample").needs == ["ko"]


def test_what_was_answered_counts(session: Session, project: Project) -> None:
    pair = {"prompt": "Why?", "responses": ["Because.", "No idea."]}
    comparisons.add(session, project, brought({**pair, "preferred": 0}, {**pair, "prompt": "How?"}))
    assert [one.counted for one in session.scalars(select(Comparison).order_by(Comparison.id))] == [1, 0]


@pytest.mark.parametrize(
    ("given", "verdict", "preferred", "strength"),
    [
        ({"preferred": 0}, "preferred", "a", 2),
        ({"preferred": 1, "strength": 3}, "preferred", "b", 3),
        ({"preferred": "1"}, "preferred", "b", 2),
        ({"preferred": "a", "strength": None}, "preferred", "a", 2),
        ({"preferred": "tie", "strength": 3}, "tie", None, None),
        ({"preferred": "both_bad"}, "both_bad", None, None),
    ],
)
def test_an_answer_completes_the_comparison_and_names_nobody(
    session: Session, project: Project, given: dict[str, object], verdict: str, preferred: str, strength: int
) -> None:
    item = {"prompt": "Why?", "responses": ["x", "y"], "rationale": "So.", "flags": ["broken"], **given}
    assert comparisons.add(session, project, brought(item)).added == 1
    answer = said(session)
    assert answer is not None
    assert (answer.verdict, answer.preferred, answer.strength) == (verdict, preferred, strength)
    assert (answer.source, answer.user_id, answer.simulated, answer.guideline_version) == ("import", None, False, None)
    assert (answer.rationale, answer.flags) == ("So.", ["broken"])
    assert only(session).status == "complete"


@pytest.mark.parametrize(
    "item",
    [
        {"prompt": "Why?", "chosen": "Because.", "rejected": "No idea."},
        {"prompt": [USER], "chosen": [YES], "rejected": [NO]},
        {"messages": [USER], "chosen": [USER, YES], "rejected": [USER, NO]},
        {"chosen": [USER, YES], "rejected": [USER, NO]},
        {"prompt": "Why?", "chosen": [YES], "rejected": "No idea.", "responses": None, "score": 0.5},
    ],
)
def test_chosen_and_rejected_come_as_text_or_conversations(
    session: Session, project: Project, item: dict[str, object]
) -> None:
    assert comparisons.add(session, project, brought(item)).added == 1
    found, answer = only(session), said(session)
    assert (found.prompt.messages, found.response_a.text, found.response_b.text) == ([USER], "Because.", "No idea.")
    assert answer is not None
    assert (answer.preferred, answer.strength) == ("a", 2)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("Why?", "A comparison must be an object"),
        ({"prompt": "Why?"}, "There are no two responses here"),
        ({"prompt": "Why?", "chosen": "a"}, "There are no two responses here"),
        ({"prompt": "Why?", "responses": ["a"]}, "exactly two"),
        ({"prompt": "Why?", "responses": {"a": "b"}}, "exactly two"),
        ({"prompt": "Why?", "responses": ["a", "b"], "chosen": "a"}, "more than one pair"),
        ({"responses": ["a", "b"]}, "There is no prompt here"),
        ({"prompt": "Why?", "responses": ["a", " a "]}, "Both responses say the same"),
        ({"prompt": "Why?", "responses": ["a", ""]}, "The second response is empty"),
        ({"prompt": "Why?", "responses": ["a", None]}, "The second response must be text"),
        ({"prompt": "Why?", "responses": ["a\x00", "b"]}, "NUL"),
        ({"prompt": "Why?", "responses": ["a", [USER]]}, "must end with an assistant turn"),
        ({"prompt": "How?", "responses": ["a", [USER, YES]]}, "goes on from another conversation"),
        ({"prompt": "Why?", "responses": ["a", "b"], "preferred": 2}, '"preferred" must be 0'),
        ({"prompt": "Why?", "responses": ["a", "b"], "preferred": True}, '"preferred" must be 0'),
        ({"prompt": "Why?", "responses": ["a", "b"], "preferred": ["a"]}, '"preferred" must be 0'),
        ({"prompt": "Why?", "responses": ["a", "b"], "preferred": 1, "strength": 4}, "strength must be 1"),
        ({"prompt": "Why?", "responses": ["a", "b"], "preferred": 1, "strength": True}, "strength must be 1"),
        ({"prompt": "Why?", "responses": ["a", "b"], "flags": ["evil"]}, "flags must be a list"),
    ],
)
def test_what_cannot_be_used_is_told_and_leaves_nothing(
    session: Session, project: Project, value: object, why: str
) -> None:
    good = {"prompt": "Why?", "responses": ["x", "y"]}
    result = comparisons.add(session, project, brought(value, good))
    assert (result.added, [one.line for one in result.rejected]) == (1, [1])
    assert why in result.rejected[0].why
    assert only(session).response_a.text == "x"


def test_the_same_pair_again_is_a_duplicate_whichever_way_round(session: Session, project: Project) -> None:
    item = {"prompt": "Why?", "responses": ["x", "y"]}
    turned = {"prompt": " Why? ", "chosen": "y ", "rejected": "x"}
    assert comparisons.add(session, project, brought(item, turned)).to_json()["duplicates"] == 1
    assert comparisons.add(session, project, brought(item, turned)).to_json()["duplicates"] == 2
    other = {"prompt": "Why?", "responses": ["x", "z"]}
    assert comparisons.add(session, project, brought(other)).added == 1
    assert len(set(session.scalars(select(Comparison.prompt_id)))) == 1


def test_its_prompts_are_never_sampled_and_nothing_retrains(session: Session, project: Project) -> None:
    project.retraining = {"every": 1}
    session.flush()
    comparisons.add(session, project, brought({"prompt": "Why?", "chosen": "x", "rejected": "y"}))
    assert session.scalars(select(Run)).all() == []


def test_gold_with_an_answer_becomes_a_gold_comparison_and_without_one_is_refused(
    session: Session, project: Project
) -> None:
    result = comparisons.add(
        session,
        project,
        brought(
            {"prompt": "Name a metal.", "chosen": "Iron.", "rejected": "Wood.", "gold": True},
            {"prompt": "Name a stone.", "responses": ["Flint.", "Slate."], "preferred": "tie", "gold": True},
            {"prompt": "Name a tree.", "responses": ["Oak.", "Elm."], "gold": True},
            {"prompt": "Name a fish.", "chosen": "Cod.", "rejected": "Rose.", "gold": "yes"},
        ),
    )
    assert (result.added, len(result.rejected)) == (2, 2)
    found = session.scalars(select(Comparison).order_by(Comparison.id)).all()
    assert [(each.purpose, each.status, each.expected_verdict, each.expected_preferred) for each in found] == [
        ("gold", "waiting", "preferred", "a"),
        ("gold", "waiting", "tie", None),
    ]
    assert session.scalar(select(Answer)) is None, "nobody answered them"
