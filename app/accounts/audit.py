"""The audit log: who did what, written in the transaction of what was done, and never changed."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, or_, select
from sqlalchemy.orm import Session, aliased

from app import languages
from app.errors import BadInput
from app.languages import N_, _
from app.lists import Asked, Listing, page_of
from app.models import AuditEvent, Project, User
from app.templating import called

ACTIONS = {
    "signed_in": N_("Signed in"),
    "sign_in_failed": N_("Tried to sign in with a wrong password"),
    "signed_out": N_("Signed out"),
    "signed_out_everywhere": N_("Signed out of every browser"),
    "password_changed": N_("Changed their password"),
    "sign_in_reset": N_("Made a link to set a new password"),
    "password_set": N_("Set a new password by a link"),
    "token_made": N_("Made an API token"),
    "token_revoked": N_("Revoked an API token"),
    "person_made": N_("Made a person"),
    "invited": N_("Made an invitation"),
    "invitation_revoked": N_("Took an invitation back"),
    "joined": N_("Came in by an invitation"),
    "roles_changed": N_("Changed roles"),
    "abilities_changed": N_("Changed what somebody may judge"),
    "deactivated": N_("Deactivated a person"),
    "reactivated": N_("Let a person in again"),
    "erased": N_("Erased a person"),
    "personal_data_taken": N_("Took personal data out"),
    "audit_taken": N_("Took the audit log out"),
    "project_made": N_("Made a project"),
    "project_changed": N_("Changed the settings"),
    "project_archived": N_("Archived the project"),
    "project_restored": N_("Brought the project back"),
    "guidelines_written": N_("Wrote guidelines"),
    "member_let_in": N_("Gave roles in the project"),
    "member_removed": N_("Removed a member"),
    "prompts_withdrawn": N_("Withdrew prompts"),
    "prompts_restored": N_("Brought prompts back"),
    "prompts_tagged": N_("Tagged prompts"),
    "prompts_untagged": N_("Took a tag off prompts"),
    "prompts_prioritised": N_("Changed the priority of prompts"),
    "imported": N_("Imported"),
    "export_started": N_("Started an export"),
    "export_cancelled": N_("Cancelled an export"),
    "downloaded": N_("Downloaded"),
    "run_started": N_("Started a run"),
    "run_forced": N_("Started a run that passes its gates by force"),
    "run_cancelled": N_("Cancelled a run"),
    "promoted": N_("Promoted a checkpoint"),
    "retired": N_("Retired a checkpoint"),
    "rolled_back": N_("Rolled back"),
    "paused": N_("Paused an annotator"),
    "resumed": N_("Let an annotator go on"),
    "excluded": N_("Left an annotator's answers out of snapshots"),
    "included": N_("Took an annotator's answers into snapshots again"),
    "adjudicated": N_("Decided a comparison"),
}
"""Everything that is written down, in words; an action that is retired keeps its words, because its lines stay."""
COLUMNS = ("time", "person", "person_name", "action", "about", "about_name", "project", "details")


class Wanted(Asked):
    """Which lines: `q` in names, e-mail addresses and details; whose action; a project's; from day to day."""

    action: str = ""
    project: str = ""
    since: str = ""
    until: str = ""


@dataclass(frozen=True)
class Line:
    """One thing that somebody did, with the people and the project that its row names by number."""

    event: AuditEvent
    person: User | None
    about: User | None
    project: Project | None

    @property
    def said(self) -> str:
        """What was done, in words."""
        return _(ACTIONS.get(self.event.action, self.event.action))

    @property
    def details(self) -> list[tuple[str, str]]:
        """What else is known, as pairs of a name and a text; what changed as `before → after`."""
        known = dict(self.event.details)
        changes = known.pop("changes", {})
        changed = [(name, f"{_short(before)} → {_short(after)}") for name, (before, after) in changes.items()]
        return [*changed, *((name, _short(value)) for name, value in known.items() if value not in (None, [], {}))]


def record(
    session: Session,
    action: str,
    *,
    about: User | None = None,
    project: Project | int | None = None,
    by: User | None = None,
    **details: Any,
) -> AuditEvent:
    """Write down what is being done in this transaction: the two are kept together, or neither is.

    It was done by whoever the guard let in (app/accounts/access.py), unless `by` says otherwise. `details` are JSON
    and must hold no secret and nothing that says who somebody is, because they can never be taken back.
    """
    assert action in ACTIONS, f"{action!r} is not in the vocabulary of the audit log"
    person = by or session.info.get("person")
    event = AuditEvent(
        action=action,
        person_id=person.id if person else None,
        about_id=about.id if about else None,
        project_id=project.id if isinstance(project, Project) else project,
        details=details,
    )
    session.add(event)
    return event


def listed(session: Session, wanted: Wanted, path: str, project: Project | None = None) -> Listing[Line]:
    """A page of the log, newest first; with a project only what was done there."""
    filters = {name: getattr(wanted, name) for name in ("action", "project", "since", "until")}
    query = _query(wanted, project)
    return page_of(
        session, query, AuditEvent.id, {"time": AuditEvent.id}, wanted, path, "-time", make=Line, also=filters
    )


def projects(session: Session) -> list[Project]:
    """The projects that the log may be narrowed to, by name."""
    return list(session.scalars(select(Project).order_by(Project.name, Project.id)))


def as_csv(session: Session, wanted: Wanted, project: Project | None = None) -> Iterator[str]:
    """The whole of what is wanted as CSV, oldest first; no cell begins like a spreadsheet's formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in _rows(session, wanted, project):
        writer.writerow([_harmless(value) for value in row.values()])
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def as_json(session: Session, wanted: Wanted, project: Project | None = None) -> Iterator[str]:
    """The same as a JSON list, an object a line."""
    yield "["
    for number, row in enumerate(_rows(session, wanted, project)):
        yield ("," if number else "") + "\n" + json.dumps(row, ensure_ascii=False)
    yield "\n]\n"


def _rows(session: Session, wanted: Wanted, project: Project | None) -> Iterator[dict[str, Any]]:
    query = _query(wanted, project).order_by(AuditEvent.id)
    for row in session.execute(query.execution_options(yield_per=1000)):
        yield row_of(Line(*row))


def row_of(line: Line) -> dict[str, Any]:
    """A line as programs read it."""
    event = line.event
    return {
        "time": event.created_at.isoformat(),
        "person": str(event.person_id) if event.person_id else None,
        "person_name": called(line.person) if line.person else None,
        "action": event.action,
        "about": str(event.about_id) if event.about_id else None,
        "about_name": called(line.about) if line.about else None,
        "project": line.project.slug if line.project else None,
        "details": event.details,
    }


def _query(wanted: Wanted, project: Project | None) -> Select[*tuple[Any, ...]]:
    person, about = aliased(User), aliased(User)
    query = (
        select(AuditEvent, person, about, Project)
        .outerjoin(person, person.id == AuditEvent.person_id)
        .outerjoin(about, about.id == AuditEvent.about_id)
        .outerjoin(Project, Project.id == AuditEvent.project_id)
    )
    for word in wanted.words:
        texts = (person.name, person.email, about.name, about.email, cast(AuditEvent.details, Text))
        query = query.where(or_(*(text.icontains(word, autoescape=True) for text in texts)))
    if project is not None:
        query = query.where(AuditEvent.project_id == project.id)
    return query.where(*_filters(wanted))


def _filters(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.action:
        yield AuditEvent.action == wanted.action
    if wanted.project:
        yield Project.slug == wanted.project
    if wanted.since:
        yield AuditEvent.created_at >= _midnight(wanted.since)
    if wanted.until:
        yield AuditEvent.created_at < _midnight(wanted.until) + timedelta(days=1)


def _midnight(day: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(day), time(), languages.zone())
    except ValueError:
        raise BadInput(_("{day!r} is not a day. Write it like 2026-11-27.").format(day=day[:40])) from None


def _short(value: object) -> str:
    if value in (None, "", []):
        return "–"
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        value = ", ".join(str(one) for one in value)
    if isinstance(value, dict):
        inner = ((name, f"({_short(one)})" if isinstance(one, dict) else _short(one)) for name, one in value.items())
        value = ", ".join(f"{name}: {one}" for name, one in inner)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:199] + "…"


def _harmless(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
