"""Personal data: everything that is kept about somebody, as one JSON text for them to take away."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session, aliased

from app.accounts import audit
from app.models import (
    Answer,
    ApiToken,
    Assignment,
    AuditEvent,
    Chat,
    ChatConsent,
    Comparison,
    GuidelineReading,
    GuidelineVersion,
    Invitation,
    LoginSession,
    Membership,
    Project,
    Promotion,
    Prompt,
    Qualification,
    Response,
    Run,
    Standing,
    Upload,
    User,
)


def text(session: Session, person: User) -> Iterator[str]:
    """The person, and a list for each kind of thing that names them; hashes of secrets are left out."""
    audit.record(session, "personal_data_taken", about=person)
    session.flush()
    yield "{"
    for number, (name, query) in enumerate(_everything(person).items()):
        yield ("," if number else "") + f"\n{json.dumps(name)}: ["
        for place, row in enumerate(session.execute(query.execution_options(yield_per=500)).mappings()):
            yield ("," if place else "") + "\n" + json.dumps(dict(row), ensure_ascii=False, default=_plain)
        yield "]"
    yield "\n}\n"


def _everything(person: User) -> dict[str, Select[Any]]:
    mine = person.id
    known = (User.id, User.email, User.name, User.roles, User.kind, User.language, User.abilities)
    return {
        "person": select(*known, User.created_at, User.deactivated_at).where(User.id == mine),
        "signed_in": _rows(LoginSession, "user_agent created_at last_seen_at expires_at", LoginSession.user_id == mine),
        "tokens": _rows(ApiToken, "name prefix created_at last_used_at revoked_at", ApiToken.user_id == mine),
        "invitations": _rows(
            Invitation,
            "email roles project_id project_roles created_at used_at revoked_at invited_by_id used_by_id",
            or_(Invitation.used_by_id == mine, Invitation.invited_by_id == mine),
        ),
        "memberships": _in_project(Membership, "roles created_at", Membership.user_id == mine),
        "decisions_about_their_labelling": _in_project(
            Standing, "paused_at paused_because excluded_at excluded_because", Standing.user_id == mine
        ),
        "practice_rounds": _practice(mine),
        "answers": _answers(mine),
        "handed_out": _in_project(
            Assignment, "comparison_id status claimed_at leased_until", Assignment.user_id == mine
        ),
        "chats": _in_project(Chat, "messages pending best_of created_at updated_at", Chat.user_id == mine),
        "chat_consents": _in_project(ChatConsent, "created_at", ChatConsent.user_id == mine),
        "guidelines": _in_project(GuidelineVersion, "version text created_at", GuidelineVersion.written_by_id == mine),
        "guidelines_read": _rows(GuidelineReading, "version_id created_at", GuidelineReading.user_id == mine),
        "pairs_to_see_once_more": _in_project(Comparison, "id status created_at", Comparison.asks_id == mine),
        "files_brought_in": _in_project(Upload, "name bytes created_at", Upload.person_id == mine),
        "runs": _in_project(Run, "id kind status params created_at finished_at", Run.requested_by_id == mine),
        "promotions": _in_project(Promotion, "kind checkpoint_id created_at", Promotion.promoted_by_id == mine),
        "audit_log": _rows(
            AuditEvent,
            "created_at action person_id about_id project_id details",
            or_(AuditEvent.person_id == mine, AuditEvent.about_id == mine),
        ),
    }


def _rows(table: Any, columns: str, *where: Any) -> Select[Any]:
    return select(*(getattr(table, name) for name in columns.split())).where(*where).order_by(table.created_at)


def _in_project(table: Any, columns: str, *where: Any) -> Select[Any]:
    return (
        _rows(table, columns, *where)
        .add_columns(Project.slug.label("project"))
        .join(Project, Project.id == table.project_id)
    )


def _practice(mine: int) -> Select[Any]:
    told = "asked needed right began_at ended_at decided_because"
    return (
        select(*(getattr(Qualification, name) for name in told.split()), Project.slug.label("project"))
        .join(Project, Project.id == Qualification.project_id)
        .where(Qualification.user_id == mine)
        .order_by(Qualification.began_at)
    )


def _answers(mine: int) -> Select[Any]:
    a, b = aliased(Response), aliased(Response)
    said = "id comparison_id verdict preferred strength skip_reason flags criteria rationale seconds_client source"
    columns = [getattr(Answer, name) for name in f"{said} revision guideline_version created_at updated_at".split()]
    return (
        select(
            *columns,
            Prompt.messages.label("prompt"),
            a.text.label("a"),
            b.text.label("b"),
            Project.slug.label("project"),
        )
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(a, a.id == Comparison.response_a_id)
        .join(b, b.id == Comparison.response_b_id)
        .join(Project, Project.id == Answer.project_id)
        .where(Answer.user_id == mine)
        .order_by(Answer.id)
    )


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
