"""Lists: searched, sorted by a column that the address names, paged by a cursor; the same on every page.

A cursor names the last row of a page by its sort key and id, so that the next page begins right behind it (keyset): as
quick on the last page as on the first, and nothing is shown twice or left out while rows come and go.
"""

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel
from sqlalchemy import Select, SQLColumnExpression, tuple_
from sqlalchemy.orm import Session

from app.errors import BadInput
from app.languages import _

T = TypeVar("T")
SIZE = 50
FILTER = re.compile(r'(?P<name>[a-z]+):(?:"(?P<quoted>[^"]*)"|(?P<plain>\S+))|(?P<word>\S+)')


class Asked(BaseModel):
    """What a list's address asks for: words and filters, a column (`-name`: from its end), where to go on."""

    q: str = ""
    sort: str = ""
    cursor: str = ""

    @property
    def words(self) -> list[str]:
        """The words, where the list has no filters in its search."""
        return self.q.replace("\x00", "").split()

    def parsed(self, *names: str) -> tuple[list[str], dict[str, list[str]]]:
        """The words, and the values of these filters (`tag:poem`, `tag:"two words"`); other colons are words'."""
        words: list[str] = []
        filters: dict[str, list[str]] = {name: [] for name in names}
        for found in FILTER.finditer(self.q.replace("\x00", "")):
            if found["name"] in filters:
                filters[found["name"]].append(found["plain"] if found["quoted"] is None else found["quoted"])
            else:
                words.append(found[0])
        return words, filters


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A page of a list and the addresses that lead on from it; `also` are the address's other parts, which stay."""

    rows: list[T]
    asked: Asked
    sort: str
    path: str
    next: str | None = None
    also: Mapping[str, str | list[str]] = field(default_factory=dict)

    def href(self, **changes: str | None) -> str:
        """This list's address with some parts changed; without a cursor unless one is given."""
        parts = {"q": self.asked.q, "sort": self.asked.sort, **self.also, **changes}
        said = urlencode({name: value for name, value in parts.items() if value}, doseq=True)
        return f"{self.path}?{said}" if said else self.path

    def by(self, column: str) -> str:
        """The address of the same list by this column; by the one it is sorted by already, the other way round."""
        return self.href(sort=f"-{column}" if self.sort == column else column)

    def direction(self, column: str) -> str:
        """What `aria-sort` says of a column."""
        return {column: "ascending", f"-{column}": "descending"}.get(self.sort, "none")


def page_of(
    session: Session,
    query: Select[*tuple[Any, ...]],
    id: SQLColumnExpression[int],
    columns: Mapping[str, SQLColumnExpression[Any]],
    asked: Asked,
    path: str,
    usual: str,
    *,
    make: Callable[..., T],
    also: Mapping[str, str | list[str]] | None = None,
    size: int = SIZE,
) -> Listing[T]:
    """A page of the query's rows, each given to `make`; sorted as asked for, as `usual` where that is no column.

    A column's value is never null; rows with the same one stand in the order of their ids.
    """
    sort = asked.sort if asked.sort.removeprefix("-") in columns else usual
    key, backwards = columns[sort.removeprefix("-")], sort.startswith("-")
    query = query.add_columns(key.label("list_key"), id.label("list_id"))
    query = query.order_by(key.desc(), id.desc()) if backwards else query.order_by(key, id)
    if after := _after(asked.cursor, sort, key):
        query = query.where(tuple_(key, id) < after if backwards else tuple_(key, id) > after)
    found = session.execute(query.limit(size + 1)).all()
    next = cursor(sort, *found[size - 1][-2:]) if len(found) > size else None
    return Listing([make(*row[:-2]) for row in found[:size]], asked, sort, path, next, also or {})


def in_order(
    rows: Iterable[T],
    columns: Mapping[str, Callable[[T], Any]],
    asked: Asked,
    path: str,
    usual: str,
    *,
    also: Mapping[str, str | list[str]] | None = None,
) -> Listing[T]:
    """The same for a list that is whole in memory and so has one page; what is not known (None) stands last."""
    sort = asked.sort if asked.sort.removeprefix("-") in columns else usual
    key, backwards = columns[sort.removeprefix("-")], sort.startswith("-")
    known: list[T] = []
    unknown: list[T] = []
    for row in rows:
        (unknown if key(row) is None else known).append(row)
    return Listing([*sorted(known, key=key, reverse=backwards), *unknown], asked, sort, path, also=also or {})


def itself(row: T) -> T:
    """`make` for a query of one entity."""
    return row


def cursor(sort: str, key: Any, id: int) -> str:
    """Where a list in this order goes on: behind the row with this key and id."""
    said = json.dumps([sort, key.isoformat() if isinstance(key, datetime) else key, id])
    return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


def _after(given: str, sort: str, key: SQLColumnExpression[Any]) -> tuple[Any, int] | None:
    """The key and id that a cursor names; None for none, or for one of another order."""
    if not given:
        return None
    kind = key.label(None).type.python_type
    try:
        said, value, id = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
        value = datetime.fromisoformat(value) if kind is datetime else value
        good = isinstance(value, (int, float) if kind is float else kind) and isinstance(id, int)
    except (ValueError, TypeError):
        good = False
    if not good:
        raise BadInput(_("This address is not complete. Go back to the beginning of the list."))
    return (value, id) if said == sort else None
