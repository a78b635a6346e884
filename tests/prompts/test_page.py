"""The prompts page: paste or choose a file, read what came of it, mend the wrong lines, withdraw."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.models import Comparison, Project, Prompt, Run
from app.prompts import bodies
from tests.people import browse_as, make_person, make_project

PAGE = "/projects/garden/prompts"


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def browser(client: TestClient, session: Session, project: Project) -> TestClient:
    return browse_as(client, session, make_person(session, "bob", "admin"))


def send(browser: TestClient, **form: object) -> tuple[int, str]:
    """Send the form, follow it back, and return the status and the page's text without tags."""
    files = {"file": form.pop("file")} if "file" in form else {"file": ("", b"")}
    answer = browser.post(PAGE, data={"what": "prompts", "kind": "", "text": "", **form}, files=files)
    status = answer.status_code
    if status == 303:
        answer = browser.get(answer.headers["location"])
    return status, re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", answer.text))


def test_a_paste_is_one_prompt_a_line(browser: TestClient, session: Session) -> None:
    status, said = send(browser, text="Why?\r\n\r\nHow?\r\nWhy?\r\n")
    assert status == 303
    assert "2 prompts were added. 1 was here already." in said
    assert [one.messages[0]["content"] for one in session.query(Prompt).order_by(Prompt.id)] == ["Why?", "How?"]
    assert {one.source for one in session.query(Prompt)} == {"pasted"}


def test_a_file_with_a_wrong_line_says_which_and_offers_it_to_be_mended(browser: TestClient, session: Session) -> None:
    lines = [b'"Prompt %d"' % n for n in range(20)]
    lines[16] = b'{"prompt": <oops>}'
    status, said = send(browser, file=("my prompts.jsonl", b"\n".join(lines)))
    assert status == 303
    assert "Line 17 of my prompts.jsonl could not be used. This is not JSON: expecting value at character 12." in said
    assert "19 prompts were added. Download the wrong lines." in said
    run = session.query(Run).filter_by(kind="import").one()
    assert (run.status, run.done, run.total, run.params["file"]) == ("succeeded", 19, 20, "my prompts.jsonl")
    wrong = browser.get(f"{PAGE}/imports/{run.id}/wrong-lines")
    assert (wrong.text, wrong.headers["content-type"]) == ('{"prompt": <oops>}\n', "text/plain; charset=utf-8")
    assert "attachment" in wrong.headers["content-disposition"]


def test_ready_made_pairs_come_in_by_the_same_form(browser: TestClient, session: Session) -> None:
    text = '{"prompt": "Why?", "responses": ["x", "y"]}\n{"prompt": "Why?"}\n{"prompt": "How?"}'
    _, said = send(browser, what="comparisons", text=text)
    assert "Line 2 could not be used. There are no two responses here." in said
    assert "1 other line could not be used either. 1 comparison was added." in said
    assert session.query(Comparison).one().source == "import"


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        ({}, 422, "Paste something or choose a file first."),
        ({"what": "rows", "text": "kept"}, 422, "Bring in prompts or comparisons"),
        ({"file": ("x.txt", "Why?".encode("utf-16"))}, 422, "This is UTF-16."),
    ],
)
def test_what_cannot_be_taken_is_refused_on_the_page_and_the_paste_stays(
    browser: TestClient, form: dict[str, object], status: int, sentence: str
) -> None:
    found, said = send(browser, **form)
    assert found == status
    assert sentence in said
    assert str(form.get("text", "")) in said


def test_a_file_that_is_too_large_is_refused_on_the_page(browser: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST", 2000)
    answer = browser.post(PAGE, data={"what": "prompts"}, files={"file": ("x.txt", b"x" * 1900)})
    assert answer.status_code == 413
    assert "more than 64 MB" in answer.text


def test_hostile_names_and_texts_are_shown_as_text(browser: TestClient, session: Session) -> None:
    name = 'C:\\evil\\"><img src=x onerror=alert(1)>\u202e.jsonl'
    answer = browser.post(PAGE, data={"what": "prompts"}, files={"file": (name, b"<script>alert(1)</script>\n{bad")})
    page = browser.get(answer.headers["location"]).text
    assert "<img" not in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    source = session.query(Prompt).order_by(Prompt.id).first().source
    assert "\u202e" not in source
    assert "evil\\" not in source


def test_prompts_are_searched_withdrawn_and_brought_back(browser: TestClient, session: Session) -> None:
    send(browser, text="Why is it?\nHow is it?")
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


def test_ticked_prompts_get_a_tag_and_a_priority(browser: TestClient, session: Session) -> None:
    send(browser, text="Why is it?\nHow is it?")
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
    client: TestClient, browser: TestClient, session: Session
) -> None:
    send(browser, text="Why?")
    run = session.query(Run).filter_by(kind="import").one()
    make_project(session, "other")
    assert browser.get(f"/projects/other/prompts?import={run.id}").status_code == 404
    assert browser.get(f"/projects/other/prompts/imports/{run.id}/wrong-lines").status_code == 404
    alice = browse_as(client, session, make_person(session, "alice", "annotator"))
    assert alice.get(PAGE).status_code == 403
    assert alice.post(PAGE, data={"text": "x"}).status_code == 403
