"""Gates, blind trials by people, the clean-up of old models, shared chats, and limits of tokens"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

POLICIES = ("gates", "serving", "keeping")


def upgrade() -> None:
    for name in POLICIES:
        op.add_column("projects", sa.Column(name, postgresql.JSONB(), server_default="{}", nullable=False))
    op.add_column("checkpoints", sa.Column("bytes", sa.BigInteger(), nullable=True))
    op.add_column("checkpoints", sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("chats", sa.Column("shared_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "trials",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("candidate_id", sa.BigInteger(), nullable=False),
        sa.Column("opponent_id", sa.BigInteger(), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("promotes", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('open', 'won', 'lost', 'ended')", name=op.f("ck_trials_known_status")),
        sa.CheckConstraint("wanted > 0", name=op.f("ck_trials_wants_some")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_trials_project_id_projects"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["candidate_id"], ["checkpoints.id"], name=op.f("fk_trials_candidate_id_checkpoints")),
        sa.ForeignKeyConstraint(["opponent_id"], ["checkpoints.id"], name=op.f("fk_trials_opponent_id_checkpoints")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_trials_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sa.UniqueConstraint("run_id", name=op.f("uq_trials_run_id")),
    )
    op.create_index(op.f("ix_trials_project_id"), "trials", ["project_id"])
    op.create_index(op.f("ix_trials_candidate_id"), "trials", ["candidate_id"])
    op.create_index(
        "uq_trials_one_open", "trials", ["candidate_id"], unique=True, postgresql_where=sa.text("status = 'open'")
    )
    op.create_table(
        "token_limits",
        sa.Column("token_id", sa.BigInteger(), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_day", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("requests_per_minute > 0", name=op.f("ck_token_limits_some_requests")),
        sa.CheckConstraint("tokens_per_day > 0", name=op.f("ck_token_limits_some_tokens")),
        sa.ForeignKeyConstraint(
            ["token_id"], ["api_tokens.id"], name=op.f("fk_token_limits_token_id_api_tokens"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_token_limits")),
    )
    op.create_table(
        "token_uses",
        sa.Column("token_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("requests", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["token_id"], ["api_tokens.id"], name=op.f("fk_token_uses_token_id_api_tokens"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_id", "day", name=op.f("pk_token_uses")),
    )


def downgrade() -> None:
    op.drop_table("token_uses")
    op.drop_table("token_limits")
    op.drop_table("trials")
    op.drop_column("chats", "shared_at")
    op.drop_column("checkpoints", "removed_at")
    op.drop_column("checkpoints", "bytes")
    for name in reversed(POLICIES):
        op.drop_column("projects", name)
