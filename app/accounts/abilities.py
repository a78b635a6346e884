"""Languages and skills by name: what a prompt needs of whoever judges it, and what a person may judge."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Session

from app.accounts import audit
from app.errors import BadInput
from app.languages import _
from app.messages import check_storable
from app.models import User

LONGEST = 50
MOST = 50


def checked(names: Iterable[object]) -> list[str]:
    """The names in lower case, sorted, each once, blank ones left out; raises BadInput with a sentence."""
    found = set()
    for name in names:
        if not isinstance(name, str) or len(name) > LONGEST or "," in name:
            raise BadInput(
                _(
                    "A language or skill must be a name of at most {longest} characters without a comma, not {name}."
                ).format(longest=LONGEST, name=f"{name!r:.60}")
            )
        found.add(" ".join(check_storable(name, "A language or skill").lower().split()))
    found.discard("")
    if len(found) > MOST:
        raise BadInput(_("Name at most {most} languages and skills.").format(most=MOST))
    return sorted(found)


def needed(entry: dict[str, Any]) -> list[str]:
    """The optional `language` and `needs` of something brought in, as one list; raises BadInput with a sentence."""
    language, needs = entry.get("language"), entry.get("needs")
    if language is not None and not isinstance(language, str):
        raise BadInput(_('language must be a text, such as "ko".'))
    if needs is not None and not isinstance(needs, list):
        raise BadInput(_('needs must be a list of texts, such as ["medicine"].'))
    return checked([*([] if language is None else [language]), *(needs or ())])


def change(session: Session, person: User, names: Iterable[object] | None) -> None:
    """Let a person judge only what needs no more than these, or everything (None); what they hold stays theirs."""
    before, person.abilities = person.abilities, None if names is None else checked(names)
    if person.abilities != before:
        audit.record(session, "abilities_changed", about=person, changes={"abilities": [before, person.abilities]})
    session.flush()
