"""Every person is answered in a language of their own; programs are answered in English."""

import ast
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app import languages
from app.main import app
from tests.people import bearer, browse_as, make_person, make_project

KOREAN = {"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"}
ENGLISH = {"Accept-Language": "en-US,en;q=0.9"}


def in_korean(say, *given):
    """What a function says inside of an answer to a Korean browser."""

    def spoken() -> object:
        languages._answer.set(languages._Answer("ko"))
        return say(*given)

    return copy_context().run(spoken)


def test_a_page_is_in_the_language_of_the_browser(client: TestClient) -> None:
    korean = client.get("/sign-in", headers=KOREAN).text
    assert '<html lang="ko">' in korean
    assert "<h1>로그인</h1>" in korean
    english = client.get("/sign-in", headers=ENGLISH).text
    assert '<html lang="en">' in english
    assert "<h1>Sign in</h1>" in english


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en-US;q=0.8", "ko"),
        ("en;q=0.5, ko;q=0.8", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("de-DE,de;q=0.9,ko;q=0.1", "ko"),
        ("de", "en"),
        ("ko;q=0, de", "en"),
        ("ko;q=much, *", "en"),
        (",;q=1,;;", "en"),
        ("", "en"),
    ],
)
def test_the_browser_is_understood(header: str, code: str) -> None:
    assert languages.of_browser(header) == code


def test_what_a_person_chose_goes_before_the_browser(client: TestClient, session: Session) -> None:
    browse_as(client, session, make_person(session, "alice", "annotator"))
    assert '<html lang="en">' in client.get("/me", headers=ENGLISH).text
    assert client.post("/me/language", data={"language": "ko"}).status_code == 303
    page = client.get("/me", headers=ENGLISH).text
    assert '<html lang="ko">' in page
    assert '<option value="ko" lang="ko" selected>한국어</option>' in page
    assert "어노테이터" not in page
    assert "라벨러" in page, "codes such as roles are words too"
    client.post("/me/language", data={"language": ""})
    assert '<html lang="en">' in client.get("/me", headers=ENGLISH).text


def test_a_language_that_is_not_there_is_refused(client: TestClient, session: Session) -> None:
    alice = make_person(session, "alice", "annotator")
    browse_as(client, session, alice)
    assert client.post("/me/language", data={"language": "xx"}).status_code == 422
    assert alice.language is None


def test_a_mistake_is_explained_in_the_same_language(client: TestClient, session: Session) -> None:
    browse_as(client, session, make_person(session, "alice", "annotator"))
    page = client.get("/projects/nothing", headers=KOREAN)
    assert page.status_code == 404
    assert "<title>찾을 수 없음 · Pairloop</title>" in page.text
    assert "볼 수 있는 프로젝트 중에 없습니다." in page.text
    toast = client.post("/people/1/roles", headers={**KOREAN, "HX-Request": "true"})
    assert "다음 역할이 필요합니다: 관리자." in toast.text


def test_an_unforeseen_mistake_too(session: Session) -> None:
    def broken() -> None:
        raise RuntimeError("broken on purpose")

    app.add_api_route("/broken-on-purpose", broken)
    try:
        answer = TestClient(app, raise_server_exceptions=False).get("/broken-on-purpose", headers=KOREAN)
    finally:
        app.router.routes.pop()
    assert answer.status_code == 500
    assert "서버에서 문제가 발생했습니다." in answer.text


def test_programs_are_answered_in_english(client: TestClient, session: Session) -> None:
    alice = make_person(session, "alice", "annotator")
    alice.language = "ko"
    answer = client.get("/api/v1/projects/nothing", headers={**bearer(session, alice), **KOREAN})
    assert answer.json()["detail"] == "There is no project 'nothing' that you may see."
    assert client.get("/v1/models", headers=KOREAN).json()["error"]["message"].startswith("Sign in first")


def test_the_seven_steps_and_what_waits_are_in_the_language_of_the_page(client: TestClient, session: Session) -> None:
    make_project(session)
    browse_as(client, session, make_person(session, "alice", "annotator"))
    assert "아직 프롬프트가 없습니다" in client.get("/projects/garden/label", headers=KOREAN).text
    assert "There are no prompts yet" in client.get("/projects/garden/label", headers=ENGLISH).text


def test_two_who_ask_at_once_each_get_their_own(client: TestClient) -> None:
    def title(n: int) -> str:
        page = TestClient(app).get("/static-nothing", headers=KOREAN if n % 2 else ENGLISH).text
        return "찾을 수 없음" if "찾을 수 없음" in page else "Not Found" if "Not Found" in page else page

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(title, range(24))) == ["Not Found", "찾을 수 없음"] * 12


@pytest.mark.parametrize(
    ("seconds", "english", "korean"),
    [
        (5, "just now", "방금"),
        (61, "1 minute ago", "1분 전"),
        (119, "1 minute ago", "1분 전"),
        (5 * 3600, "5 hours ago", "5시간 전"),
        (15 * 86400, "15 days ago", "15일 전"),
        (-7 * 86400 + 1, "in 7 days", "7일 후"),
    ],
)
def test_moments_are_said_as_people_say_them(seconds: float, english: str, korean: str) -> None:
    assert languages.ago(seconds) == english
    assert in_korean(languages.ago, seconds) == korean


@pytest.mark.parametrize(
    ("seconds", "english", "korean"),
    [(0.2, "1 second", "1초"), (57, "1 minute", "1분"), (90 * 60, "2 hours", "2시간"), (3 * 86400, "3 days", "3일")],
)
def test_so_are_spans(seconds: float, english: str, korean: str) -> None:
    assert languages.span(seconds) == english
    assert in_korean(languages.span, seconds) == korean


def test_the_exact_moment_is_that_of_the_readers_clock() -> None:
    at = datetime(2026, 3, 1, 20, 30, tzinfo=UTC)
    assert languages.moment(at) == "March 1, 2026 20:30:00 UTC"

    def in_seoul() -> str:
        languages._answer.set(languages._Answer("ko", ZoneInfo("Asia/Seoul")))
        return languages.moment(at)

    assert copy_context().run(in_seoul) == "2026년 3월 2일 05:30:00 KST"


def test_the_browsers_time_zone_is_used_on_every_page(client: TestClient, session: Session) -> None:
    browse_as(client, session, make_person(session, "alice", "annotator"))
    client.cookies.set("timezone", "Asia/Seoul")
    assert ' KST">' in client.get("/me").text
    client.cookies.set("timezone", "../../etc/passwd")
    assert ' UTC">' in client.get("/me").text


def test_numbers_are_grouped_and_keep_their_decimals() -> None:
    assert languages.number(1234567) == in_korean(languages.number, 1234567) == "1,234,567"
    assert languages.number(-0.4, 2) == "-0.40"


def translated_at_import(path: Path) -> list[int]:
    """Lines on which a module translates while it is imported, for nobody in particular."""
    found: list[int] = []

    class Look(ast.NodeVisitor):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            for default in [*node.args.defaults, *node.args.kw_defaults, *node.decorator_list]:
                if default is not None:
                    self.visit(default)

        visit_AsyncFunctionDef = visit_FunctionDef

        def visit_Lambda(self, node: ast.Lambda) -> None: ...

        def visit_Call(self, node: ast.Call) -> None:
            if isinstance(node.func, ast.Name) and node.func.id in ("_", "gettext", "ngettext"):
                found.append(node.lineno)
            self.generic_visit(node)

    Look().visit(ast.parse(path.read_text()))
    return found


def test_nothing_is_translated_before_somebody_asks() -> None:
    root = Path(languages.__file__).parent
    early = {str(path.relative_to(root)): lines for path in root.rglob("*.py") if (lines := translated_at_import(path))}
    assert early == {}, "these constants stay English for ever: mark them with N_() and translate them where shown"
