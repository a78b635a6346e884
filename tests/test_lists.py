"""A list goes on behind its last row by any column, in both directions, and refuses addresses that are no cursor."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import BadInput
from app.lists import Asked, Listing, in_order, itself, page_of
from app.models import User
from tests.people import make_person

COLUMNS = {"name": func.lower(User.name), "since": User.created_at, "id": User.id}


@pytest.fixture
def people(session: Session) -> list[User]:
    """Seven, of whom three share a name and all a moment."""
    named = [make_person(session, name) for name in ("dora", "anna", "bert", "carl")]
    for n in range(3):
        named.append(make_person(session, f"twin{n}"))
        named[-1].name = "Carl"
    session.flush()
    return named


def pages(session: Session, sort: str) -> list[User]:
    """Everything, two rows at a time."""
    found: list[User] = []
    cursor: str | None = ""
    while cursor is not None:
        asked = Asked(sort=sort, cursor=cursor)
        page: Listing[User] = page_of(
            session, select(User), User.id, COLUMNS, asked, "/people", "id", make=itself, size=2
        )
        found, cursor = found + page.rows, page.next
    return found


@pytest.mark.parametrize("sort", ["name", "-name", "since", "-since", "id", "-id", "password_hash", ""])
def test_every_row_is_on_one_page_once_and_in_order(session: Session, people: list[User], sort: str) -> None:
    found = pages(session, sort)
    assert sorted(one.id for one in found) == sorted(one.id for one in people)
    if sort.endswith("name"):
        keys = [(one.name.lower(), one.id) for one in found]
        assert keys == sorted(keys, reverse=sort == "-name")
    elif sort in ("-since", "-id"):
        assert [one.id for one in found] == sorted((one.id for one in people), reverse=True)


def test_a_row_that_comes_in_between_moves_no_other(session: Session, people: list[User]) -> None:
    first = page_of(session, select(User), User.id, COLUMNS, Asked(), "/", "-id", make=itself, size=3)
    make_person(session, "new")
    rest = page_of(
        session, select(User), User.id, COLUMNS, Asked(cursor=first.next or ""), "/", "-id", make=itself, size=9
    )
    assert [one.id for one in first.rows + rest.rows] == sorted((one.id for one in people), reverse=True)


@pytest.mark.parametrize("cursor", ["x", "e30", "W10", "WyJpZCIsICJhIiwgMV0", "WyJpZCIsIDEsIG51bGxd", "\x00", "ÄÖ"])
def test_an_address_that_is_no_cursor_is_refused(session: Session, cursor: str) -> None:
    with pytest.raises(BadInput, match="Go back to the beginning"):
        page_of(session, select(User), User.id, COLUMNS, Asked(cursor=cursor), "/", "id", make=itself)


def test_a_cursor_of_another_order_begins_anew(session: Session, people: list[User]) -> None:
    by_id = page_of(session, select(User), User.id, COLUMNS, Asked(), "/", "id", make=itself, size=2)
    asked = Asked(sort="name", cursor=by_id.next or "")
    by_name = page_of(session, select(User), User.id, COLUMNS, asked, "/", "id", make=itself, size=2)
    assert [one.name for one in by_name.rows] == ["Anna", "Bert"]


def test_filters_are_told_from_words() -> None:
    asked = Asked(q='cat tag:poem tag:"two words" is: http://x "q')
    assert asked.parsed("tag", "is") == (["cat", "is:", "http://x", '"q'], {"tag": ["poem", "two words"], "is": []})


def test_what_is_not_known_stands_last_in_both_directions() -> None:
    for sort, expected in (("n", [1, 2, None]), ("-n", [2, 1, None])):
        assert in_order([2, None, 1], {"n": lambda n: n}, Asked(sort=sort), "/", "n").rows == expected


def test_links_keep_the_search_and_turn_the_order_round() -> None:
    listing = Listing([1], Asked(q="a b", sort="name"), "name", "/people", None, {"action": "invited", "until": ""})
    assert listing.by("name") == "/people?q=a+b&sort=-name&action=invited"
    assert listing.by("since") == "/people?q=a+b&sort=since&action=invited"
    assert listing.href(q=None, sort=None) == "/people?action=invited"
    assert (listing.direction("name"), listing.direction("since")) == ("ascending", "none")
