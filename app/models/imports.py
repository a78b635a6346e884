"""Files that people bring in, until they are read, and the lines of them that could not be used."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Created, Id


class Upload(Base):
    """A file in the artefact store that waits to be checked and brought in; gone after its run, or after a day."""

    __tablename__ = "uploads"

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    """The file's own name, made harmless; empty for a paste."""
    url: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[Created]


class WrongLine(Base):
    """A line that an import could not use, as it was sent (cut where it is long), and why."""

    __tablename__ = "wrong_lines"
    __table_args__ = (Index("ix_wrong_lines_of_run", "run_id", "id"),)

    id: Mapped[Id]
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    line: Mapped[int]
    why: Mapped[str]
    raw: Mapped[str]

    def to_json(self) -> dict[str, Any]:
        return {"line": self.line, "why": self.why}
