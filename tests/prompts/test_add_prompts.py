"""Prompts come in by the thousand: checked, hashed, never twice."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.database import open_session
from app.labeling.comparisons import find_or_add_prompt, is_holdout, prompt_hash
from app.models import Project, Prompt, Run
from app.prompts import bulk, prompts
from app.prompts.bodies import Entry
from tests.at_once import while_open
from tests.people import make_project


def brought(*values: object) -> Iterator[Entry]:
    return (Entry(line, value, repr(value).encode()) for line, value in enumerate(values, 1))


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


def stored(session: Session, project: Project) -> list[Prompt]:
    return list(session.scalars(select(Prompt).where(Prompt.project_id == project.id).order_by(Prompt.id)))


def test_texts_and_conversations_are_stored_in_their_order(session: Session, project: Project) -> None:
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    result = prompts.add(
        session,
        project,
        brought(
            "Why?",
            {"prompt": "How?", "tags": ["short", "short", " science "], "source": "a book", "priority": 5, "more": 1},
            {"messages": talk},
            {"prompt": talk[1:], "tags": None, "source": None, "priority": None},
        ),
        "api",
    )
    assert result.to_json() == {"added": 4, "duplicates": 0, "rejected": [], "rejected_total": 0}
    why, how, both, hi = stored(session, project)
    assert why.messages == [{"role": "user", "content": "Why?"}]
    assert (why.tags, why.source, why.priority, why.sampled) == ([], "api", 0, True)
    assert (how.tags, how.source, how.priority) == (["short", "science"], "a book", 5)
    assert (both.messages, hi.messages) == (talk, talk[1:])
    assert [one.hash for one in (why, both)] == [prompt_hash(why.messages), prompt_hash(talk)]
    assert all(one.holdout == is_holdout(one.hash) for one in (why, how, both, hi))


def test_a_prompt_says_what_its_judges_must_know(session: Session, project: Project) -> None:
    values = ["Why?", {"prompt": "왜?", "language": "ko"}, {"prompt": "Dose?", "language": "en", "needs": ["Medicine"]}]
    prompts.add(session, project, brought(*values, {"prompt": "How?", "language": 7}))
    assert [one.needs for one in stored(session, project)] == [[], ["ko"], ["en", "medicine"]]
    assert prompts.as_json(stored(session, project)[1])["needs"] == ["ko"]


def test_the_same_prompt_written_otherwise_is_a_duplicate(session: Session, project: Project) -> None:
    first = prompts.add(session, project, brought("A cafe\u0301  at\nnight", "a café at night"))
    again = prompts.add(session, project, brought("A café at night ", "new", "new"))
    assert (first.added, first.duplicates) == (2, 0)
    assert (again.added, again.duplicates) == (1, 2)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (17, "A prompt must be a text or an object"),
        (None, "A prompt must be a text or an object"),
        ({}, "There is no prompt here"),
        ({"prompt": 3}, "A prompt must be a list with at least one message"),
        ("  ", "The prompt is empty"),
        ("a\x00b", "NUL"),
        ("\ud800", "surrogate"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "The last message must be from the user"),
        ({"messages": [{"role": "user"}]}, "Message 1 must be text"),
        ({"prompt": "a", "tags": "short"}, "tags must be a list"),
        ({"prompt": "a", "tags": ["a\x00"]}, "NUL"),
        ({"prompt": "a", "source": "\x00"}, "NUL"),
        ({"prompt": "a", "priority": True}, "priority must be a whole number"),
        ({"prompt": "a", "priority": 10**12}, "priority must be a whole number"),
    ],
)
def test_what_cannot_be_used_is_told_and_the_rest_is_taken(
    session: Session, project: Project, value: object, why: str
) -> None:
    result = prompts.add(session, project, brought("good", value, "good too"))
    assert (result.added, result.refused) == (2, 1)
    assert result.rejected[0].line == 2
    assert why in result.rejected[0].why


def test_hostile_text_is_kept_as_it_is(session: Session, project: Project) -> None:
    texts = [
        "'; drop table prompts; --",
        "<script>alert(1)</script>",
        '\\u0041 {"a": "%s %(b)s"} :rows',
        "\u202e‮ عربى 한국어",
    ]
    assert prompts.add(session, project, brought(*texts)).added == 4
    assert [one.messages[0]["content"] for one in stored(session, project)] == texts


def test_labels_are_kept_as_they_are(session: Session, project: Project) -> None:
    hostile = ["tab\tand\nline\r\n", '\\ "quoted", {braced}', "\\N", "\\."]
    given = {"prompt": "a\tb\\\n\\.", "tags": hostile, "source": hostile[0] + hostile[2]}
    assert prompts.add(session, project, brought(given)).added == 1
    one = stored(session, project)[0]
    assert one.messages[0]["content"] == given["prompt"]
    assert (one.tags, one.source) == ([tag.strip() for tag in hostile], given["source"])


def test_more_than_a_batch_comes_in_and_only_so_many_refusals_are_told(session: Session, project: Project) -> None:
    entries = (Entry(n, f"Prompt {n}" if n % 2 else "", b"raw") for n in range(2 * prompts.MOST_TOLD + 2))
    result = prompts.add(session, project, entries)
    assert (result.added, result.refused, len(result.rejected)) == (1001, 1001, 1000)
    assert session.scalar(select(func.count()).select_from(Prompt)) == 1001


def test_a_prompt_of_a_comparison_or_a_withdrawn_one_comes_into_use(session: Session, project: Project) -> None:
    prompts.add(session, project, brought("one", "two", "three"))
    one, two, _ = stored(session, project)
    one.sampled = False
    bulk.withdraw(session, project, Prompt.id == two.id)
    result = prompts.add(session, project, brought("one", "two", "three"))
    session.expire_all()
    assert (result.added, result.duplicates) == (2, 1)
    assert (one.sampled, two.withdrawn_at) == (True, None)


def test_new_prompts_start_the_sampling_of_pairs(session: Session, project: Project) -> None:
    prompts.add(session, project, brought(""))
    assert session.scalar(select(Run)) is None
    prompts.add(session, project, brought("one"))
    run = session.scalars(select(Run)).one()
    assert (run.kind, run.trigger, run.status) == ("sample", "stock", "queued")


def test_two_imports_of_the_same_prompts_in_opposite_order_both_end(committed: None) -> None:
    with open_session() as session:
        project = make_project(session)
    texts = [f"Prompt {n}" for n in range(3000)]

    def bring(values: list[str]) -> int:
        with open_session() as session:
            return prompts.add(session, session.get_one(Project, project.id), brought(*values)).added

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(bring, (texts, texts[::-1]), timeout=60)) == [0, 3000]


def test_a_prompt_that_somebody_else_adds_meanwhile_is_a_duplicate(committed: None) -> None:
    with open_session() as session:
        project = make_project(session)
    came: list[prompts.Added] = []

    def ask(session: Session) -> None:
        find_or_add_prompt(session, project, [{"role": "user", "content": "two"}], sampled=True)

    def bring(session: Session) -> None:
        came.append(prompts.add(session, session.get_one(Project, project.id), brought("one", "two", "three")))

    while_open(ask, bring)
    assert [(one.added, one.duplicates) for one in came] == [(2, 1)]
