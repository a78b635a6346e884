"""People: who they are, how they sign in, what was limited."""

from datetime import date, datetime

from sqlalchemy import (
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import Text

from app.models.base import Base, Created, Id

ROLES = ("annotator", "admin", "operator")
_KNOWN_ROLES = "roles <@ ARRAY['annotator','admin','operator']::text[]"
_ERASED_IS_NOBODY = (
    "CASE WHEN erased_at IS NULL THEN email IS NOT NULL "
    "ELSE email IS NULL AND name = '' AND password_hash IS NULL AND roles = '{}' AND language IS NULL "
    "AND abilities IS NULL AND deactivated_at IS NOT NULL END"
)


class User(Base):
    """A person, or a simulated annotator (`kind`), whose answers are marked and left out of exports.

    An erased person's row stays, because answers, runs and the audit log refer to it, and says nothing of them.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(_KNOWN_ROLES, name="known_roles"),
        CheckConstraint("kind IN ('person', 'simulated')", name="known_kind"),
        CheckConstraint(_ERASED_IS_NOBODY, name="erased_is_nobody"),
        CheckConstraint("break_after BETWEEN 0 AND 240", name="a_break_within_hours"),
        Index("uq_users_email", text("lower(email)"), unique=True),
    )

    id: Mapped[Id]
    email: Mapped[str | None]
    """Everybody has one who is not erased."""
    name: Mapped[str] = mapped_column(default="", server_default="")
    password_hash: Mapped[str | None]
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    kind: Mapped[str] = mapped_column(default="person", server_default="person")
    language: Mapped[str | None]
    """Of the pages: en or ko; None follows the browser."""
    abilities: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """Languages and skills this person may judge, see Prompt.needs; None: everything."""
    break_after: Mapped[int] = mapped_column(SmallInteger, default=45, server_default="45")
    """Minutes of steady labelling after which the label page reminds of a break; 0: never."""
    deactivated_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]
    created_at: Mapped[Created]


class LoginSession(Base):
    """One signed-in browser; the cookie holds the token, the row only its SHA-256."""

    __tablename__ = "login_sessions"

    id: Mapped[Id]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    user_agent: Mapped[str] = mapped_column(default="", server_default="")
    created_at: Mapped[Created]
    last_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime]
    user: Mapped[User] = relationship()


class ApiToken(Base):
    """A bearer token for programs; shown once, kept as a SHA-256."""

    __tablename__ = "api_tokens"

    id: Mapped[Id]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[Created]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    user: Mapped[User] = relationship()


class SignInLink(Base):
    """With this link a person sets a new password, once; an admin made it. A person has at most one."""

    __tablename__ = "sign_in_links"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[Created]
    expires_at: Mapped[datetime]
    user: Mapped[User] = relationship()


class TokenLimit(Base):
    """How much a token may ask of the model; nothing: as much as it likes."""

    __tablename__ = "token_limits"
    __table_args__ = (
        CheckConstraint("requests_per_minute > 0", name="some_requests"),
        CheckConstraint("tokens_per_day > 0", name="some_tokens"),
    )

    token_id: Mapped[int] = mapped_column(ForeignKey("api_tokens.id", ondelete="CASCADE"), primary_key=True)
    requests_per_minute: Mapped[int | None] = mapped_column(Integer)
    tokens_per_day: Mapped[int | None]


class TokenUse(Base):
    """What a token had the model read and write on one day (UTC)."""

    __tablename__ = "token_uses"

    token_id: Mapped[int] = mapped_column(ForeignKey("api_tokens.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    requests: Mapped[int] = mapped_column(default=0, server_default="0")
    prompt_tokens: Mapped[int] = mapped_column(default=0, server_default="0")
    completion_tokens: Mapped[int] = mapped_column(default=0, server_default="0")


class Invitation(Base):
    """A link that makes one person with the given roles; also the first person's sign-in link (no inviter).

    With a project it gives roles there as well, or there alone.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        CheckConstraint(_KNOWN_ROLES, name="known_roles"),
        CheckConstraint(f"project_{_KNOWN_ROLES}", name="known_project_roles"),
        CheckConstraint("(project_id IS NULL) = (project_roles = '{}')", name="a_project_has_roles"),
        CheckConstraint("roles <> '{}' OR project_roles <> '{}'", name="gives_a_role"),
    )

    id: Mapped[Id]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    email: Mapped[str | None]
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    project_roles: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    invited_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    used_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class RateLimit(Base):
    """Hits per key and window; unlogged, because losing it in a crash costs nothing."""

    __tablename__ = "rate_limits"
    __table_args__ = {"prefixes": ["UNLOGGED"]}

    key: Mapped[str] = mapped_column(primary_key=True)
    window_start: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    hits: Mapped[int] = mapped_column(server_default="0")


class Membership(Base):
    """A person's roles in one project; decides alone only where the project is restricted to its members."""

    __tablename__ = "memberships"
    __table_args__ = (UniqueConstraint("project_id", "user_id"), CheckConstraint(_KNOWN_ROLES, name="known_roles"))

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[Created]


class Standing(Base):
    """What admins decided about somebody's labelling in a project: paused, or left out of new snapshots; both end."""

    __tablename__ = "standings"
    __table_args__ = (
        UniqueConstraint("project_id", "user_id"),
        CheckConstraint("(paused_at IS NULL) = (paused_because IS NULL)", name="a_pause_has_a_reason"),
        CheckConstraint("(excluded_at IS NULL) = (excluded_because IS NULL)", name="an_exclusion_has_a_reason"),
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    paused_at: Mapped[datetime | None]
    paused_because: Mapped[str | None]
    excluded_at: Mapped[datetime | None]
    excluded_because: Mapped[str | None]
    decided_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]


class Qualification(Base):
    """Somebody's qualification round in a project: gold comparisons before the first real pair.

    It ends with its last answer, and what came of it stays as it was then. Who fell short gets no pairs until an admin
    lets them in, or lets them repeat it, which begins the row anew.
    """

    __tablename__ = "qualifications"
    __table_args__ = (
        UniqueConstraint("project_id", "user_id"),
        CheckConstraint("asked >= 1 AND needed BETWEEN 0 AND asked", name="needed_of_asked"),
        CheckConstraint('"right" BETWEEN 0 AND asked', name="right_of_asked"),
        CheckConstraint('(ended_at IS NULL) = ("right" IS NULL)', name="an_end_has_a_result"),
        CheckConstraint("let_in_at IS NULL OR decided_because IS NOT NULL", name="a_decision_has_a_reason"),
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    asked: Mapped[int]
    needed: Mapped[int]
    """How many of those asked have to be right."""
    right: Mapped[int | None]
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None]
    """When the person was told how it went."""
    let_in_at: Mapped[datetime | None]
    decided_because: Mapped[str | None]
    decided_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))

    @property
    def passed(self) -> bool:
        """Whether real pairs may follow."""
        return self.let_in_at is not None or (self.right is not None and self.right >= self.needed)
