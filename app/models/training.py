"""Snapshots, runs, checkpoints and exports: from answers to a model and out of the house."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base, Created, Id
from app.models.labels import _one_of

RUN_KINDS = ("sample", "reward", "ppo", "dpo", "evaluate", "chain", "import", "export")
TRAINING_KINDS = ("reward", "ppo", "dpo", "evaluate")
"""Kinds that start a training child; one at a time per project."""
RUN_STATUSES = ("queued", "running", "succeeded", "failed", "cancelled")
FINISHED = ("succeeded", "failed", "cancelled")


class Snapshot(Base):
    """An immutable, content-hashed set of answers as Parquet with a manifest."""

    __tablename__ = "snapshots"
    __table_args__ = (UniqueConstraint("project_id", "sha256"),)

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    sha256: Mapped[str]
    url: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[Created]


class SnapshotAnswer(Base):
    """Which answers, in which revision, a snapshot holds; a held answer can be corrected but not undone."""

    __tablename__ = "snapshot_answers"

    snapshot_id: Mapped[int] = mapped_column(ForeignKey("snapshots.id", ondelete="CASCADE"), primary_key=True)
    answer_id: Mapped[int] = mapped_column(ForeignKey("answers.id"), primary_key=True, index=True)
    revision: Mapped[int] = mapped_column(Integer)


class Run(Base):
    """One piece of work with a history. `parent_id` is the chain a step belongs to, `retry_of_id` what it repeats."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(_one_of("kind", RUN_KINDS), name="known_kind"),
        CheckConstraint(_one_of("status", RUN_STATUSES), name="known_status"),
        CheckConstraint("trigger IN ('person', 'labels', 'cron', 'chain', 'stock')", name="known_trigger"),
        # A second training run waits: only one may be running per project.
        Index(
            "uq_runs_one_training",
            "project_id",
            unique=True,
            postgresql_where=text("status = 'running' AND kind IN ('reward', 'ppo', 'dpo', 'evaluate')"),
        ),
        # One refill of the stock at a time.
        Index(
            "uq_runs_one_refill",
            "project_id",
            unique=True,
            postgresql_where=text("status IN ('queued', 'running') AND trigger = 'stock'"),
        ),
        # A project's retraining policy starts no second chain while one is under way.
        Index(
            "uq_runs_one_automatic_chain",
            "project_id",
            unique=True,
            postgresql_where=text(
                "status IN ('queued', 'running') AND kind = 'chain' AND trigger IN ('labels', 'cron')"
            ),
        ),
        Index("ix_runs_of_project", "project_id", text("id DESC")),
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    kind: Mapped[str]
    status: Mapped[str] = mapped_column(default="queued", server_default="queued")
    trigger: Mapped[str] = mapped_column(default="person", server_default="person")
    params: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"), index=True)
    retry_of_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    requested_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    snapshot_id: Mapped[int | None] = mapped_column(ForeignKey("snapshots.id"))
    attempt: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    phase: Mapped[str] = mapped_column(default="", server_default="")
    done: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    total: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    message: Mapped[str] = mapped_column(default="", server_default="")
    """One sentence about now; after the end, about what came of it."""
    error: Mapped[str | None]
    """What went wrong and what to do, when `failed`."""
    result: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    samples: Mapped[list[dict[str, Any]]] = mapped_column(default=list, server_default="[]")
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """Where and by which code it worked, what it took, and how it was interrupted (app/runs/facts.py)."""
    cancel_requested_at: Mapped[datetime | None]
    created_at: Mapped[Created]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    snapshot: Mapped[Snapshot | None] = relationship()


class RunMetric(Base):
    """What a training child reported at one step of one phase; written again, the same, after a resume."""

    __tablename__ = "run_metrics"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    phase: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[Created]


class Checkpoint(Base):
    """What a training run made: an adapter (and a head), its metrics, and where it came from."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        CheckConstraint("kind IN ('policy', 'reward')", name="known_kind"),
        CheckConstraint("status IN ('candidate', 'promoted', 'retired')", name="known_status"),
        # At most one promoted checkpoint of a kind per project; none means the base model answers.
        Index(
            "uq_checkpoints_one_promoted",
            "project_id",
            "kind",
            unique=True,
            postgresql_where=text("status = 'promoted'"),
        ),
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    kind: Mapped[str]
    status: Mapped[str] = mapped_column(default="candidate", server_default="candidate")
    base_model: Mapped[str]
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), unique=True)
    policy_parent_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    reward_parent_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    snapshot_id: Mapped[int | None] = mapped_column(ForeignKey("snapshots.id"))
    url: Mapped[str]
    sha256: Mapped[str]
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    gate: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """{"passed": bool, "why": sentence, "forced": bool, "checks": [{"name", "passed", "found", "needed"}]}"""
    bytes: Mapped[int | None]
    """What its files take; None where nobody has looked yet."""
    removed_at: Mapped[datetime | None]
    """When its files were cleaned up; the row stays, because responses and other models name it."""
    created_at: Mapped[Created]
    run: Mapped[Run] = relationship()
    snapshot: Mapped[Snapshot | None] = relationship()


class Promotion(Base):
    """Who put which checkpoint in front (or back to the base model: no checkpoint), and when."""

    __tablename__ = "promotions"

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    checkpoint_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    previous_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    promoted_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    created_at: Mapped[Created]


class Trial(Base):
    """People compare a candidate's answers with those of what is in use, blindly; its comparisons have its run's id."""

    __tablename__ = "trials"
    __table_args__ = (
        CheckConstraint("status IN ('open', 'won', 'lost', 'ended')", name="known_status"),
        CheckConstraint("wanted > 0", name="wants_some"),
        # A candidate is put before people once at a time.
        Index("uq_trials_one_open", "candidate_id", unique=True, postgresql_where=text("status = 'open'")),
    )

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    opponent_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    """None: the base model."""
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), unique=True)
    """The run that writes its pairs."""
    wanted: Mapped[int] = mapped_column(Integer)
    promotes: Mapped[bool] = mapped_column(default=False, server_default="false")
    """Whether the candidate is promoted by itself when it wins."""
    status: Mapped[str] = mapped_column(default="open", server_default="open")
    created_at: Mapped[Created]
    ended_at: Mapped[datetime | None]


class Export(Base):
    """A file made from a snapshot for the world outside; its run has the status."""

    __tablename__ = "exports"
    __table_args__ = (CheckConstraint("per IN ('answer', 'comparison')", name="known_per"),)

    id: Mapped[Id]
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), unique=True)
    snapshot_id: Mapped[int | None] = mapped_column(ForeignKey("snapshots.id"))
    layout: Mapped[str]
    format: Mapped[str]
    per: Mapped[str] = mapped_column(default="answer", server_default="answer")
    """What a row is about: `answer`, or `comparison` with all its answers as votes."""
    filters: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    url: Mapped[str | None]
    sha256: Mapped[str | None]
    bytes: Mapped[int | None]
    rows: Mapped[int | None]
    manifest: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    created_at: Mapped[Created]
    run: Mapped[Run] = relationship()
