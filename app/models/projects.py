"""Projects and their versioned guidelines."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base, Created, Id


class Project(Base):
    """Guidelines, a base model, sampling settings, and policies of labelling, retraining, gates, serving and keeping.

    Each of these columns holds what was chosen; app/models/policies.py says what may be, and fills in
    the rest.
    """

    __tablename__ = "projects"
    __table_args__ = (
        CheckConstraint("labels_per_comparison BETWEEN 1 AND 50", name="labels_per_comparison_in_range"),
        CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]*$'", name="slug_is_plain"),
    )

    id: Mapped[Id]
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    base_model: Mapped[str]
    labels_per_comparison: Mapped[int] = mapped_column(default=1, server_default="1")
    restricted: Mapped[bool] = mapped_column(default=False, server_default="false")
    sampling: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    labeling: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    retraining: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    gates: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    serving: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    keeping: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    created_at: Mapped[Created]
    archived_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    """Since when nothing starts by itself."""
    guidelines: Mapped[list["GuidelineVersion"]] = relationship(order_by="GuidelineVersion.version")


class GuidelineVersion(Base):
    """One text of a project's guidelines; the version in force is stored with every answer."""

    __tablename__ = "guideline_versions"
    __table_args__ = (UniqueConstraint("project_id", "version"),)

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    version: Mapped[int]
    text: Mapped[str]
    written_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]


class GuidelineReading(Base):
    """Somebody said that they have read one version of a project's guidelines."""

    __tablename__ = "guideline_readings"
    __table_args__ = (UniqueConstraint("user_id", "version_id"),)

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    version_id: Mapped[int] = mapped_column(ForeignKey("guideline_versions.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[Created]
