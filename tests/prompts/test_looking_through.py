"""Prompts are searched and sorted, changed many at once, and everything that was done to them is undone again."""

import pytest
from sqlalchemy.orm import Session

from app.accounts import audit
from app.accounts.access import Access
from app.errors import BadInput, Conflict, NotFound
from app.lists import Asked
from app.models import Assignment, AuditEvent, Comparison, Project, Prompt, User, now
from app.prompts import bulk, lists, prompts
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
    for prompt, source, holdout in zip(search(session, project), ("", "two words", "file.csv"), "100", strict=True):
        prompt.source, prompt.holdout = source, holdout == "1"
    session.flush()
    return project


def search(session: Session, project: Project, words: str = "", sort: str = "") -> list[Prompt]:
    return lists.listed(session, project, Asked(q=words, sort=sort), "").rows


def among(*prompts: Prompt) -> bulk.Which:
    return Prompt.id.in_([prompt.id for prompt in prompts])


def touched(done: AuditEvent | None) -> list[str]:
    assert done is not None
    return list(done.details["prompts"])


@pytest.fixture
def bob(session: Session) -> User:
    person = make_person(session, "bob", "admin")
    session.info["person"] = person
    return person


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", [3, 2, 1]),
        ("sky", [3, 1]),
        ("the sky", [3, 1]),
        ("sky the", [3, 1]),
        ("WH sk", [1]),
        ("ky", []),
        ("role", []),
        ('"100%_s', [2]),
        ("100%x", []),
        ("tag:science", [1]),
        ("tag:short tag:language", [2]),
        ("tag:science 100", []),
        ("source:file.csv", [1]),
        ('source:"two words"', [2]),
        ("is:holdout", [3]),
        ("is:used -", []),
        ("'; drop \\", []),
        ("is:withdrawn", []),
        ("\x00", [3, 2, 1]),
    ],
)
def test_words_tags_and_state_narrow_the_list(
    session: Session, project: Project, words: str, expected: list[int]
) -> None:
    everything = search(session, project)[::-1]
    found = search(session, project, words)
    assert [everything.index(one) + 1 for one in found] == expected


def test_the_list_goes_on_where_it_stopped_and_knows_only_its_project(session: Session, project: Project) -> None:
    prompts.add(session, make_project(session, "other"), iter([Entry(1, "elsewhere", b"")]))
    first = lists.listed(session, project, Asked(), "", 2)
    rest = lists.listed(session, project, Asked(cursor=first.next or ""), "", 2)
    assert len({prompt.id for prompt in first.rows + rest.rows}) == 3
    assert rest.next is None


def test_it_is_sorted_by_priority_and_use(session: Session, project: Project) -> None:
    one, two, three = search(session, project)
    one.priority, two.priority, three.priority = 0, 5, -1
    one.times_sampled = 2
    session.flush()
    assert search(session, project, sort="-priority") == [two, one, three]
    assert search(session, project, sort="sampled")[-1] == one


def test_a_prompt_too_long_for_words_is_kept_and_not_found_by_them(session: Session, project: Project) -> None:
    many = " ".join(f"word{n}" for n in range(100_000))
    assert prompts.add(session, project, iter([Entry(1, many, b"")])).added == 1
    assert search(session, project, "word7") == []


def test_withdrawing_takes_waiting_pairs_that_nobody_holds_and_restoring_brings_imported_ones_back(
    session: Session, project: Project
) -> None:
    prompt = search(session, project)[0]
    held, waiting, answered, ready_made = (make_comparison(session, prompt) for _ in range(4))
    answered.status, ready_made.source = "complete", "import"
    lease = {"leased_until": now(), "claimed_at": now(), "shown_left": "a"}
    alice = make_person(session, "alice", "annotator")
    session.add(Assignment(project_id=project.id, comparison_id=held.id, user_id=alice.id, **lease))
    session.flush()

    def statuses() -> list[str]:
        session.expire_all()
        return [session.get_one(Comparison, one.id).status for one in (held, waiting, answered, ready_made)]

    assert touched(bulk.withdraw(session, project, Prompt.id.in_([prompt.id, 10**9]))) == [str(prompt.id)]
    assert statuses() == ["waiting", "withdrawn", "complete", "withdrawn"]
    assert bulk.withdraw(session, project, among(prompt)) is None
    assert touched(bulk.restore(session, project, among(prompt))) == [str(prompt.id)]
    assert statuses() == ["waiting", "withdrawn", "complete", "waiting"]


def test_another_projects_prompts_cannot_be_withdrawn(session: Session, project: Project) -> None:
    prompt = search(session, project)[0]
    assert bulk.withdraw(session, make_project(session, "other"), among(prompt)) is None
    assert session.get_one(Prompt, prompt.id).withdrawn_at is None


def test_counts_say_what_is_in_use(session: Session, project: Project) -> None:
    one, two, three = search(session, project)
    one.sampled, two.holdout, three.holdout = False, True, False
    bulk.withdraw(session, project, among(three))
    one.holdout = False
    session.flush()
    assert lists.counts(session, project) == {"sampled": 1, "inside_comparisons": 1, "holdout": 1, "withdrawn": 1}


def test_many_counts_say_more_than(session: Session, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST", 1)
    assert lists.counts(session, project)["sampled"] == 2


def test_every_change_is_undone_and_the_undoing_too(session: Session, project: Project, bob: User) -> None:
    access = Access(bob, project)
    one, two, three = search(session, project)
    one.tags, one.priority = ["poem"], 7
    session.flush()
    three_ones = among(one, two, three)

    def state() -> list[tuple[list[str], int, bool]]:
        session.expire_all()
        return [(sorted(prompt.tags), prompt.priority, prompt.withdrawn_at is None) for prompt in (one, two, three)]

    before = state()
    for change in (
        lambda: bulk.withdraw(session, project, three_ones),
        lambda: bulk.tag(session, project, three_ones, " poem "),
        lambda: bulk.untag(session, project, three_ones, "poem"),
        lambda: bulk.prioritise(session, project, three_ones, 7),
    ):
        done = change()
        assert done is not None
        changed = state()
        assert changed != before
        assert bulk.sentence(done)
        undone = bulk.undo(session, access, done.id)
        assert undone is not None
        assert state() == before
        again = bulk.undo(session, access, undone.id)
        assert state() == changed
        assert again is not None
        bulk.undo(session, access, again.id)
    assert state() == before


def test_what_changed_since_and_what_others_did_is_not_undone(session: Session, project: Project, bob: User) -> None:
    access = Access(bob, project)
    which = among(*search(session, project))
    done = bulk.withdraw(session, project, which)
    assert done is not None
    bulk.restore(session, project, which)
    with pytest.raises(Conflict, match="undone already"):
        bulk.undo(session, access, done.id)
    theirs = audit.record(
        session, "prompts_withdrawn", by=make_person(session, "eve"), project=project, prompts=["1-3"]
    )
    mine = audit.record(session, "invited", project=project)
    session.flush()
    for other in (theirs.id, mine.id, 10**9):
        with pytest.raises(NotFound):
            bulk.undo(session, access, other)


def test_bad_tags_and_priorities_are_refused(session: Session, project: Project) -> None:
    which = among(*search(session, project))
    for name in ("", " ", "x" * 101, "\x00"):
        with pytest.raises(BadInput):
            bulk.tag(session, project, which, name)
    with pytest.raises(BadInput, match="whole number up to 1,000,000"):
        bulk.prioritise(session, project, which, 10**7)
