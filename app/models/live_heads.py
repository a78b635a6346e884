"""What the live head says of a project's answers: one row, written anew after every answer."""

from typing import Any

from sqlalchemy import ForeignKey, Integer, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created


class LiveHead(Base):
    """The instant head of a project, fitted without training; `arrays` is empty where it cannot be fitted yet."""

    __tablename__ = "live_heads"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    features_from: Mapped[str | None]
    """The name of the features that it reads."""
    newest_answer: Mapped[int]
    """The highest id among the answers it knows."""
    answers: Mapped[int] = mapped_column(Integer)
    """How many answers prefer one of two responses that both have features."""
    unread: Mapped[int] = mapped_column(Integer)
    """How many compared responses wait for features."""
    metrics: Mapped[dict[str, Any]]
    arrays: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """NumPy's npz format; app/live_head/heads.py says which arrays."""
    fitted_at: Mapped[Created]
