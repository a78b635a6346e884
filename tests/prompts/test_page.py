"""The prompts pages: look at a paste or a file, bring it in, read what came of it, mend, take back; look through."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Project, Prompt, Run, Upload, WrongLine
from app.prompts import uploads
from app.prompts.bodies import Entry
from app.prompts.prompts import add
from tests.people import browse_as, make_person, make_project

PAGE = "/projects/garden/prompts"


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def browser(client: TestClient, session: Session, project: Project) -> TestClient:
    return browse_as(client, session, make_person(session, "bob", "admin"))


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def send(browser: TestClient, text: str = "", file: tuple[str, bytes] = ("", b"")) -> tuple[int, str, str]:
    """Send a paste or a file, follow the redirect; the status, the page's words, and its address."""
    answer = browser.post(f"{PAGE}/import", data={"text": text}, files={"file": file})
    status, address = answer.status_code, answer.headers.get("location", "")
    if status == 303:
        answer = browser.get(address)
    return status, words(answer.text), address


def go(browser: TestClient, session: Session, address: str, **form: str) -> Run:
    """The third step, and what its run would be told."""
    file = address.rpartition("=")[2]
    answer = browser.post(f"{PAGE}/import/{file}", data={"file": file, **form})
    assert answer.status_code == 303, words(answer.text)
    run = session.scalars(select(Run).order_by(Run.id.desc())).first()
    assert run is not None
    assert answer.headers["location"] == f"{PAGE}/import#import-{run.id}"
    return run


def test_a_paste_is_shown_before_anything_is_stored_and_then_goes_to_the_worker(
    browser: TestClient, session: Session
) -> None:
    status, said, address = send(browser, "Why?\r\n\r\nHow?\r\n")
    assert status == 303
    assert "Recognised: Text, one prompt a line" in said
    assert "Prompts in the first 2 rows: 2." in said
    assert "It has 2 rows." in said
    assert session.scalars(select(Prompt)).all() == []
    run = go(browser, session, address, format="", layout="prompts")
    assert (run.kind, run.status, run.params["layout"], run.params["file"]) == ("import", "queued", "prompts", "")
    assert "a paste" in words(browser.get(f"{PAGE}/import").text)


def test_the_layout_and_the_columns_are_shown_and_may_be_changed(browser: TestClient, session: Session) -> None:
    table = b"question,besser,schlechter,ort\nWhy?,Because.,No idea.,Ulm\nHow?,So.,,Ulm\n"
    _, said, address = send(browser, file=("pairs.csv", table))
    assert "Not read: besser, schlechter, ort" in said
    shown = {"file": address.rpartition("=")[2], "layout": "preference", "column-prompt": "question"}
    shown |= {"column-chosen": "besser", "column-rejected": "schlechter"}
    fragment = browser.get(f"{PAGE}/import", params=shown, headers={"HX-Target": "import-check"})
    assert "<html" not in fragment.text
    said = words(fragment.text)
    assert "Comparisons in the first 2 rows: 1. 1 cannot be used." in said
    assert "A · preferred Because." in said
    assert "There are no two responses here." in said
    run = go(browser, session, address, **{name: value for name, value in shown.items() if name != "file"})
    assert run.params["mapping"] == {"prompt": "question", "chosen": "besser", "rejected": "schlechter"}


def test_columns_of_a_layout_that_was_chosen_before_do_no_harm(browser: TestClient) -> None:
    _, _, address = send(browser, file=("x.csv", b"prompt,chosen,rejected\na,b,c\n"))
    shown = {"file": address.rpartition("=")[2], "layout": "prompts", "column-chosen": "chosen"}
    assert "Bring the prompts in" in browser.get(f"{PAGE}/import", params=shown).text


def test_rows_of_which_none_can_be_used_cannot_be_brought_in(browser: TestClient, session: Session) -> None:
    _, said, address = send(browser, file=("x.jsonl", b'{"a": 1}\n'))
    assert "None of these rows can be used like this." in said
    assert "Bring the prompts in" not in said
    file = address.rpartition("=")[2]
    refused = browser.post(f"{PAGE}/import/{file}", data={"file": file, "layout": "prompts"})
    assert refused.status_code == 422
    assert "None of the first 1 rows can be used." in refused.text
    assert session.scalars(select(Run)).all() == []


@pytest.mark.parametrize(
    ("text", "file", "status", "sentence"),
    [
        ("", ("", b""), 422, "Paste something or choose a file first."),
        ("", ("x.txt", "Why?".encode("utf-16")), 303, "This is UTF-16."),
        ("", ("x.parquet", b"\x80\x05]\x94."), 303, "This is a pickle file"),
        (" ", ("x.csv", b"PK\x03\x04"), 303, "This is a packed archive"),
    ],
)
def test_what_cannot_be_read_is_refused_on_the_page(
    browser: TestClient, text: str, file: tuple[str, bytes], status: int, sentence: str
) -> None:
    found, said, _ = send(browser, text, file)
    assert found == status
    assert sentence in said


def test_a_file_that_is_too_large_is_refused_on_the_page(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST", 2000)
    status, said, _ = send(browser, file=("x.txt", b"x" * 2100))
    assert status == 413
    assert "larger than 4 GB" in said


def test_another_file_may_be_taken_and_a_file_that_is_gone_says_so(browser: TestClient, session: Session) -> None:
    _, _, address = send(browser, "Why?")
    forgotten = browser.post(f"{PAGE}/import/{address.rpartition('=')[2]}/forget")
    assert (forgotten.status_code, forgotten.headers["location"]) == (303, f"{PAGE}/import")
    assert session.scalars(select(Upload)).all() == []
    assert "This file is not here any more" in browser.get(address).text


def test_hostile_names_columns_and_texts_are_shown_as_text(browser: TestClient, session: Session) -> None:
    name = 'C:\\evil\\"><img src=x onerror=alert(1)>\u202e.csv'
    data = b'prompt,"<script>alert(2)</script>"\n<script>alert(1)</script>,x\n'
    _, _, address = send(browser, file=(name, data))
    page = browser.get(address).text
    assert "<img" not in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    run = go(browser, session, address, layout="prompts")
    assert "\u202e" not in run.params["file"]
    assert "evil\\" not in run.params["file"]
    assert "<img" not in browser.get(f"{PAGE}/imports/{run.id}").text


def ended(session: Session, project: Project, **result: object) -> Run:
    params = {"what": "prompts", "file": "my.csv", "layout": "prompts", "format": "csv", "header": "prompt,tags"}
    run = Run(project_id=project.id, kind="import", status="succeeded", params=params, result=result)
    session.add(run)
    session.flush()
    return run


def test_what_came_of_an_import_is_told_and_its_wrong_lines_are_offered(
    browser: TestClient, session: Session, project: Project
) -> None:
    run = ended(session, project, added=19, duplicates=1, refused=2)
    why = "This row has 3 fields, but the table has 2 columns."
    session.add_all(WrongLine(run_id=run.id, line=line, why=why, raw="a,b,c") for line in (17, 18))
    session.flush()
    said = words(browser.get(f"{PAGE}/import").text)
    assert "19 prompts were added. 1 was here already." in said
    assert "2 lines could not be used 17 This row has 3 fields" in said
    wrong = browser.get(f"{PAGE}/imports/{run.id}/wrong-lines")
    assert (wrong.text, wrong.headers["content-type"]) == ("prompt,tags\na,b,c\na,b,c\n", "text/plain; charset=utf-8")
    assert "attachment" in wrong.headers["content-disposition"]


def test_a_line_of_progress_asks_again_until_the_end(browser: TestClient, session: Session, project: Project) -> None:
    run = ended(session, project, added=3)
    assert "hx-trigger" not in browser.get(f"{PAGE}/imports/{run.id}").text
    run.status, run.done, run.total = "running", 400, 1000
    session.flush()
    line = browser.get(f"{PAGE}/imports/{run.id}").text
    assert 'hx-trigger="every 1s"' in line
    assert 'value="400" max="1000"' in line
    assert browser.post(f"{PAGE}/imports/{run.id}/cancel").status_code == 303
    session.refresh(run)
    assert run.status == "cancelled"


def test_an_import_is_taken_back_on_the_page(browser: TestClient, session: Session, project: Project) -> None:
    run = ended(session, project, added=1)
    add(session, project, iter([Entry(1, "Why?", b"")]), run_id=run.id)
    assert browser.post(f"{PAGE}/imports/{run.id}/withdraw").status_code == 303
    assert session.scalars(select(Prompt)).all() == []
    assert "Taken back." in browser.get(f"{PAGE}/import").text


def test_prompts_are_searched_withdrawn_and_brought_back(
    browser: TestClient, session: Session, project: Project
) -> None:
    add(session, project, iter([Entry(1, "Why is it?", b""), Entry(2, "How is it?", b"")]))
    prompt = session.query(Prompt).order_by(Prompt.id).first()
    assert prompt is not None
    found = browser.get(PAGE, params={"q": "why"}).text
    assert "Why is it?" in found
    assert "How is it?" not in found
    done = browser.post(f"{PAGE}/bulk/withdraw", data={"chosen": [prompt.id], "q": "is it", "tag": ""})
    assert done.status_code == 303
    after = browser.get(done.headers["location"]).text
    assert 'value="is it"' in after
    assert "1 is withdrawn." in after
    assert "1 prompt was withdrawn." in after
    undo = re.search(r'action="([^"]+/bulk/undo/\d+)"', after)
    assert undo is not None
    undone = browser.post(undo[1], data={"q": ""})
    assert "1 prompt is in use again." in browser.get(undone.headers["location"]).text
    assert "is withdrawn." not in browser.get(PAGE).text
    assert browser.post(undo[1]).status_code == 409


def test_ticked_prompts_get_a_tag_and_a_priority(browser: TestClient, session: Session, project: Project) -> None:
    add(session, project, iter([Entry(1, "Why is it?", b""), Entry(2, "How is it?", b"")]))
    ids = [prompt.id for prompt in session.query(Prompt).order_by(Prompt.id)]
    browser.post(f"{PAGE}/bulk/tag", data={"chosen": ids, "tag": "<b>"})
    browser.post(f"{PAGE}/bulk/prioritise", data={"chosen": ids[:1], "priority": "5"})
    page = browser.get(f"{PAGE}?sort=-priority").text
    assert page.index("Why is it?") < page.index("How is it?")
    assert "&lt;b&gt;</a>" in page
    assert browser.post(f"{PAGE}/bulk/prioritise", data={"chosen": ids, "priority": "high"}).status_code == 422
    assert browser.post(f"{PAGE}/bulk/explode", data={"chosen": ids}).status_code == 422


def test_a_button_without_a_tick_changes_nothing_and_says_so(browser: TestClient, session: Session) -> None:
    answer = browser.post(f"{PAGE}/bulk/withdraw", data={})
    assert answer.status_code == 422
    assert "Tick" in answer.text


def test_only_admins_see_it_and_an_import_belongs_to_its_project(
    client: TestClient, browser: TestClient, session: Session, project: Project
) -> None:
    run = ended(session, project, added=1)
    _, _, address = send(browser, "Why?")
    make_project(session, "other")
    other = "/projects/other/prompts"
    for path in (f"{other}/imports/{run.id}", f"{other}/imports/{run.id}/wrong-lines"):
        assert browser.get(path).status_code == 404
    assert browser.post(f"{other}/imports/{run.id}/withdraw").status_code == 404
    assert browser.post(f"{other}/import/{address.rpartition('=')[2]}").status_code == 404
    assert "not here any more" in browser.get(address.replace("garden", "other")).text
    alice = browse_as(client, session, make_person(session, "alice", "annotator"))
    assert alice.get(PAGE).status_code == 403
    assert alice.get(f"{PAGE}/import").status_code == 403
    assert alice.post(f"{PAGE}/import", data={"text": "x"}).status_code == 403
