"""Conversations with the promoted policy, and who agreed that they may be learnt from."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Id


class Chat(Base):
    """One person's conversation; `pending` holds two answers while the person is asked which is better."""

    __tablename__ = "chats"
    __table_args__ = (
        CheckConstraint("best_of BETWEEN 1 AND 16", name="best_of_in_range"),
        Index("ix_chats_of_user", "user_id", "project_id", text("id DESC")),
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    messages: Mapped[list[dict[str, Any]]] = mapped_column(default=list, server_default="[]")
    pending: Mapped[dict[str, Any] | None]
    checkpoint_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    best_of: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    """How many candidate answers are written, of which the live head picks one."""
    shared_at: Mapped[datetime | None]
    """Since when everybody in the project may read it."""
    created_at: Mapped[Created]
    updated_at: Mapped[Created]


class ChatConsent(Base):
    """A person agreed that choices in this project's chat, with their conversation, may be kept for training."""

    __tablename__ = "chat_consents"
    __table_args__ = (UniqueConstraint("project_id", "user_id"),)

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[Created]
