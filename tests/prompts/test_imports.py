"""An import is a run of the worker: it goes on where a dead one stopped, ends within two seconds, and is taken back."""

import gzip
import io
import json
import sys
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app.accounts.access import Access
from app.database import open_session
from app.errors import BadInput, Conflict, NotFound
from app.models import Answer, AuditEvent, Comparison, Project, Prompt, Response, Run, Upload, WrongLine, now
from app.prompts import ahead, imports, prompts, uploads, withdrawals
from app.runs import runs
from app.runs.progress import Cancelled
from tests.pairs import make_answer
from tests.people import make_person, make_project
from tests.workers.worker import cancel, state, work_until_idle

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def access(committed: None) -> Access:
    with open_session() as session:
        project = make_project(session)
        project.sampling = {"stock": 0}
        return Access(make_person(session, "bob", "admin"), project)


def send(access: Access, data: bytes, name: str = "prompts.jsonl", **how: Any) -> int:
    """Begin an import of this file and return its run."""
    with open_session() as session:
        upload = uploads.keep(session, access, io.BytesIO(data), name)
        return imports.request(session, access, upload, **how).id


def taken(run_id: int) -> tuple[int, int, int]:
    """How many were added, known already, and refused."""
    result = state(run_id).result
    return result["added"], result["duplicates"], result["refused"]


def count(table: type) -> int:
    with open_session() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def lines(n: int, begin: int = 0) -> bytes:
    return b"".join(json.dumps({"prompt": f"Prompt {k}"}).encode() + b"\n" for k in range(begin, begin + n))


PAIRS = b"".join(
    json.dumps({"prompt": f"Prompt {n}", "chosen": "yes", "rejected": "no"}).encode() + b"\n" for n in range(30)
)


def test_the_worker_brings_a_file_in_and_says_what_came_of_it(access: Access) -> None:
    wrong = b'{"prompt": oops}\n{"prompt": ""}\n'
    run_id = send(access, lines(20) + wrong + lines(5), name="../my prompts.jsonl")
    with open_session() as session:
        url = session.scalars(select(Upload)).one().url
    work_until_idle()
    run = state(run_id)
    assert (run.status, run.message, run.error) == ("succeeded", "Added 20 prompts.", None)
    assert (run.done, run.total, taken(run_id)) == (20, 27, (20, 5, 2))
    assert (run.params["file"], run.params["layout"], run.params["format"]) == ("my prompts.jsonl", "prompts", "jsonl")
    with open_session() as session:
        brought = session.scalars(select(Prompt).order_by(Prompt.id)).all()
        assert {(one.run_id, one.source, one.sampled) for one in brought} == {(run_id, "my prompts.jsonl", True)}
        assert [one.line for one in imports.wrong_lines(session, run)] == [21, 22]
        assert imports.wrong_lines_file(session, run) == wrong.decode()
        told = session.scalars(select(AuditEvent).where(AuditEvent.action == "imported")).one()
        assert told.person_id == access.person.id, "who asked for it, though a worker brought it in"
        # The file has done its work and is gone.
        assert session.scalars(select(Upload)).all() == []
        gone = Upload(url=url)
        with pytest.raises(NotFound, match="Send it again"), uploads.opened(gone):
            pass


def test_a_table_s_wrong_lines_stand_below_its_names_and_a_list_s_on_one_line_each(access: Access) -> None:
    table = send(access, b'question,tags\n"One,\nreally?",a\na,b,c\n,"x\ny"\n', name="t.csv")
    listed = send(access, b'[{"prompt": "Two"}, {"prompt":\n  ""}]', name="l.json")
    work_until_idle()
    with open_session() as session:
        assert imports.wrong_lines_file(session, session.get_one(Run, table)) == 'question,tags\na,b,c\n,"x\ny"\n'
        assert imports.wrong_lines_file(session, session.get_one(Run, listed)) == '{"prompt":   ""}\n'
        one = session.scalars(select(Prompt).where(Prompt.run_id == table)).one()
    assert (one.messages[0]["content"], one.tags) == ("One,\nreally?", ["a"])


def test_what_nobody_could_use_is_refused_before_anything_is_stored(access: Access) -> None:
    with pytest.raises(BadInput, match="None of the first 2 rows can be used"):
        send(access, b'{"x": 1}\n{"x": 2}\n')
    with pytest.raises(BadInput, match="zip"):
        send(access, b"PK\x03\x04\x00\x00")
    assert (count(Run), count(Upload)) == (0, 0)


def test_a_compressed_file_that_is_damaged_at_its_end_brings_nothing_in(access: Access) -> None:
    run_id = send(access, gzip.compress(lines(30_000))[:-10])
    work_until_idle()
    assert state(run_id).status == "failed"
    assert "damaged or cut off" in str(state(run_id).error)
    assert count(Prompt) == 0


class Died(Exception):
    """A worker's end, in the middle of a batch."""


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "BATCH", 10)
    monkeypatch.setattr(imports, "ASKED_EVERY", 0.0)


@pytest.fixture
def dies_once(monkeypatch: pytest.MonkeyPatch, small_batches: None) -> None:
    """Let the third batch end in a crash, once, after it was written and before it was committed."""
    left = [3]
    keep_wrong = imports._keep_wrong

    def dying(*args: Any) -> None:
        keep_wrong(*args)
        left[0] -= 1
        if left[0] == 0:
            raise Died

    monkeypatch.setattr(imports, "_keep_wrong", dying)


@pytest.mark.parametrize(
    ("data", "table"), [(lines(25) + b"{}\n" + lines(9, 25), Prompt), (PAIRS[:-1] + b"\n{}\n{}\n" + PAIRS, Comparison)]
)
def test_a_run_whose_worker_died_goes_on_and_nothing_comes_twice(
    access: Access, dies_once: None, data: bytes, table: type
) -> None:
    run_id = send(access, data)
    with pytest.raises(Died):
        imports.bring_in(run_id)
    halfway = count(table)
    assert 0 < halfway <= 20
    work_until_idle()
    rows = data.count(b"\n")
    assert (state(run_id).status, state(run_id).result["rows"]) == ("succeeded", rows)
    added, duplicates, refused = taken(run_id)
    assert added == count(table) > halfway
    assert added + duplicates + refused == rows
    assert refused == count(WrongLine) == data.count(b"{}")


def test_even_if_the_count_of_rows_were_lost_nothing_comes_twice(access: Access) -> None:
    first, second = send(access, PAIRS), send(access, PAIRS)
    work_until_idle()
    # Whichever a worker takes up first.
    assert sorted((taken(first), taken(second))) == [(0, 30, 0), (30, 0, 0)]
    assert (count(Comparison), count(Response), count(Answer), count(Prompt)) == (30, 60, 30, 30)


def test_it_ends_soon_after_somebody_cancels_and_what_is_in_stays(access: Access, small_batches: None) -> None:
    run_id = send(access, lines(100))
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise Cancelled

    with pytest.raises(Cancelled):
        imports.bring_in(run_id, check)
    assert count(Prompt) == state(run_id).result["added"] == 30
    cancel(run_id)
    work_until_idle()
    assert state(run_id).status == "cancelled"
    # The file is kept for another try.
    assert count(Upload) == 1
    with open_session() as session:
        again = runs.retry(session, session.get_one(Run, run_id), access.person).id
    work_until_idle()
    assert (state(again).status, taken(again)) == ("succeeded", (70, 30, 0))


def test_an_import_is_taken_back_and_may_come_again(access: Access) -> None:
    kept = send(access, lines(3))
    work_until_idle()
    run_id = send(access, PAIRS)
    work_until_idle()
    assert count(Prompt) == 30
    with open_session() as session:
        withdrawals.withdraw(session, session.get_one(Run, run_id))
    # Three of the prompts had come before, by themselves.
    assert (count(Comparison), count(Response), count(Answer), count(Prompt)) == (0, 0, 0, 3)
    assert state(run_id).result["withdrawn"]
    again = send(access, PAIRS)
    work_until_idle()
    assert taken(again) == (30, 0, 0)
    assert state(kept).status == "succeeded"


def test_what_people_have_worked_with_is_not_taken_back(access: Access) -> None:
    waiting = b'{"prompt": "Why?", "responses": ["x", "y"]}\n'
    run_id = send(access, waiting + PAIRS)
    with open_session() as session, pytest.raises(Conflict, match="under way"):
        withdrawals.withdraw(session, session.get_one(Run, run_id))
    work_until_idle()
    with open_session() as session:
        pair = session.scalars(select(Comparison).where(Comparison.status == "waiting")).one()
        make_answer(session, pair, make_person(session, "alice", "annotator"))
    with open_session() as session, pytest.raises(Conflict, match="1 answer was given"):
        withdrawals.withdraw(session, session.get_one(Run, run_id))
    assert count(Comparison) == 31


def test_a_prompt_with_pairs_of_the_model_goes_out_of_use_and_the_others_are_deleted(access: Access) -> None:
    run_id = send(access, lines(3))
    work_until_idle()
    with open_session() as session:
        first = session.scalars(select(Prompt).order_by(Prompt.id)).first()
        assert first is not None
        session.add(Response(prompt_id=first.id, text="x", source="sample"))
        session.flush()
        withdrawals.withdraw(session, session.get_one(Run, run_id))
        session.expire_all()
        left = session.scalars(select(Prompt)).one()
        assert (left.id, left.withdrawn_at is not None) == (first.id, True)


def test_a_file_that_nobody_brought_in_is_gone_after_a_day(access: Access) -> None:
    with open_session() as session:
        old = uploads.keep(session, access, io.BytesIO(b"old"), "old.txt")
        uploads.keep(session, access, io.BytesIO(b"new"), "new.txt")
        old.created_at = now() - uploads.KEPT - timedelta(minutes=1)
    uploads.forget_old()
    with open_session() as session:
        assert [one.name for one in session.scalars(select(Upload))] == ["new.txt"]


def test_several_answers_to_one_pair_are_all_kept(access: Access) -> None:
    task = {
        "data": {"prompt": "Why?", "answer1": "x", "answer2": "y"},
        "annotations": [
            {"result": [{"type": "pairwise", "to_name": "answer1,answer2", "value": {"selected": side}}]}
            for side in ("left", "right", "left")
        ],
    }
    send(access, json.dumps([task]).encode(), name="project-1.json")
    work_until_idle()
    with open_session() as session:
        pair = session.scalars(select(Comparison)).one()
        said = session.scalars(select(Answer.preferred).order_by(Answer.id)).all()
        assert (pair.status, pair.counted, list(said)) == ("complete", 3, ["a", "b", "a"])
        assert session.scalar(select(Project.id)) == access.project.id


def test_the_process_takes_the_turns_that_it_took_before(access: Access) -> None:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.004)  # nobody else's, so that what an earlier import may have left does not pass for it
    try:
        imports.bring_in(send(access, lines(5)))
        assert sys.getswitchinterval() == pytest.approx(0.004)
    finally:
        sys.setswitchinterval(usual)


def test_texts_are_stored_as_they_were_sent(access: Access) -> None:
    texts = ['a "b"\\c', "one\ntwo\tthree", "\x01 \u2028", "\\N", "\uac00\U0001f600"]
    sent = [{"prompt": text, "tags": [text.strip()], "source": text} for text in texts]
    imports.bring_in(send(access, json.dumps(sent).encode()))
    with open_session() as session:
        found = session.scalars(select(Prompt).order_by(Prompt.id)).all()
    assert [(one.messages[0]["content"], one.tags, one.source) for one in found] == [(t, [t.strip()], t) for t in texts]


def test_prompts_start_to_be_sampled_while_the_rest_is_read(access: Access, small_batches: None) -> None:
    with open_session() as session:
        session.get_one(Project, access.project.id).sampling = {}
    run_id = send(access, lines(100))

    def check() -> None:
        if count(Prompt):
            raise Cancelled

    with pytest.raises(Cancelled):
        imports.bring_in(run_id, check)
    with open_session() as session:
        assert session.scalars(select(Run).where(Run.kind == "sample")).one().trigger == "stock"
    assert prompts.AT_ONCE >= ahead.BATCH
