"""What a person may judge: everything, or the languages and skills that an admin named."""

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts import abilities
from app.errors import BadInput
from app.models import User
from tests.people import browse_as, make_person


@pytest.fixture
def alice(session: Session) -> User:
    return make_person(session, "alice", "annotator")


@pytest.fixture
def admin(client: TestClient, session: Session) -> TestClient:
    return browse_as(client, session, make_person(session, "bob", "admin"))


def test_everybody_may_judge_everything_until_an_admin_says_otherwise(admin: TestClient, alice: User) -> None:
    page = f"/people/{alice.id}"
    assert alice.abilities is None
    assert re.search(r'name="everything"[^>]*checked', admin.get(page).text)
    sent = admin.post(f"{page}/abilities", data={"only": " Ko,en , medicine,, ko"})
    assert (sent.status_code, sent.headers["location"]) == (303, page)
    assert alice.abilities == ["en", "ko", "medicine"]
    shown = admin.get(page).text
    assert 'value="en, ko, medicine"' in shown
    assert not re.search(r'name="everything"[^>]*checked', shown)
    admin.post(f"{page}/abilities", data={"only": ""})
    assert alice.abilities == []
    admin.post(f"{page}/abilities", data={"only": "ko", "everything": "true"})
    assert alice.abilities is None


def test_what_is_no_name_is_refused_with_a_sentence(admin: TestClient, alice: User) -> None:
    sent = admin.post(f"/people/{alice.id}/abilities", data={"only": "k" * 51})
    assert sent.status_code == 422
    assert "at most 50 characters" in sent.text
    assert alice.abilities is None


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"language": 3}, "language must be a text"),
        ({"needs": "medicine"}, "needs must be a list"),
        ({"needs": ["law", 3]}, "without a comma, not 3"),
        ({"needs": ["law, medicine"]}, "without a comma"),
        ({"needs": ["a\x00b"]}, "NUL"),
        ({"needs": [str(n) for n in range(51)]}, "at most 50"),
    ],
)
def test_needs_are_checked(entry: dict[str, object], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        abilities.needed(entry)


def test_needs_are_written_one_way() -> None:
    assert abilities.needed({}) == abilities.needed({"language": None, "needs": None}) == []
    assert abilities.needed({"language": " KO ", "needs": ["Family  Law", "ko", ""]}) == ["family law", "ko"]
