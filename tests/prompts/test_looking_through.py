"""Prompts are searched, withdrawn with their waiting pairs, and brought back."""

import pytest
from sqlalchemy.orm import Session

from app.models import Assignment, Comparison, Project, Prompt, now
from app.prompts import prompts
from app.prompts.bodies import Entry
from tests.pairs import make_comparison
from tests.people import make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    project = make_project(session)
    values: list[object] = [
        {"prompt": "Why is the sky blue?", "tags": ["science"]},
        {"prompt": 'What does "100%_sure" mean?', "tags": ["language", "short"]},
        {"messages": [{"role": "system", "content": "Speak of the SKY."}, {"role": "user", "content": "Go on."}]},
    ]
    prompts.add(session, project, (Entry(n, value, b"") for n, value in enumerate(values, 1)))
    return project


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", [3, 2, 1]),
        ("sky", [3, 1]),
        ("the sky", [3, 1]),
        ("sky the", []),
        ("role", []),
        ('"100%_s', [2]),
        ("100%x", []),
        ("tag:science", [1]),
        ("tag:short tag:language", [2]),
        ("tag:science 100", []),
        ("is:withdrawn", []),
        ("\x00", [3, 2, 1]),
    ],
)
def test_words_tags_and_state_narrow_the_list(
    session: Session, project: Project, words: str, expected: list[int]
) -> None:
    everything = prompts.search(session, project)[::-1]
    found = prompts.search(session, project, words)
    assert [everything.index(one) + 1 for one in found] == expected


def test_the_list_goes_on_where_it_stopped_and_knows_only_its_project(session: Session, project: Project) -> None:
    prompts.add(session, make_project(session, "other"), iter([Entry(1, "elsewhere", b"")]))
    first = prompts.search(session, project, limit=2)
    rest = prompts.search(session, project, before=first[-1].id)
    assert len(first + rest) == 3
    assert len(rest) == 1


def test_withdrawing_takes_waiting_pairs_that_nobody_holds_and_restoring_brings_imported_ones_back(
    session: Session, project: Project
) -> None:
    prompt = prompts.search(session, project)[0]
    held, waiting, answered, ready_made = (make_comparison(session, prompt) for _ in range(4))
    answered.status, ready_made.source = "complete", "import"
    lease = {"leased_until": now(), "claimed_at": now(), "shown_left": "a"}
    alice = make_person(session, "alice", "annotator")
    session.add(Assignment(project_id=project.id, comparison_id=held.id, user_id=alice.id, **lease))
    session.flush()

    def statuses() -> list[str]:
        session.expire_all()
        return [session.get_one(Comparison, one.id).status for one in (held, waiting, answered, ready_made)]

    assert prompts.withdraw(session, project, [prompt.id, 10**9]) == 1
    assert statuses() == ["waiting", "withdrawn", "complete", "withdrawn"]
    assert prompts.withdraw(session, project, [prompt.id]) == 0
    assert prompts.restore(session, project, [prompt.id]) == 1
    assert statuses() == ["waiting", "withdrawn", "complete", "waiting"]


def test_another_projects_prompts_cannot_be_withdrawn(session: Session, project: Project) -> None:
    prompt = prompts.search(session, project)[0]
    assert prompts.withdraw(session, make_project(session, "other"), [prompt.id]) == 0
    assert session.get_one(Prompt, prompt.id).withdrawn_at is None


def test_counts_say_what_is_in_use(session: Session, project: Project) -> None:
    one, two, three = prompts.search(session, project)
    one.sampled, two.holdout, three.holdout = False, True, False
    prompts.withdraw(session, project, [three.id])
    one.holdout = False
    session.flush()
    assert prompts.counts(session, project) == {"sampled": 1, "inside_comparisons": 1, "holdout": 1, "withdrawn": 1}
