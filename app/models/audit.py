"""The audit log: who did what, kept for ever; Postgres itself refuses to change or delete a line of it."""

from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Id


class AuditEvent(Base):
    """One thing that somebody did. It names people by number alone, so that an erased person is nobody here too."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_of_project", "project_id", text("id DESC")),
        Index("ix_audit_events_of_person", "person_id", text("id DESC")),
        Index("ix_audit_events_about", "about_id", text("id DESC")),
    )

    id: Mapped[Id]
    action: Mapped[str]
    """One of app/accounts/audit.py."""
    person_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """Who did it; None: a command, the loop itself, or nobody who was known."""
    about_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """To whom."""
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    created_at: Mapped[Created]
