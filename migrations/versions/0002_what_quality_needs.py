"""Which comparison next, and what admins decide about annotators"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

TEXTS = postgresql.ARRAY(sa.Text())


def upgrade() -> None:
    op.add_column("users", sa.Column("abilities", TEXTS, nullable=True))
    op.add_column("prompts", sa.Column("needs", TEXTS, server_default="{}", nullable=False))
    op.add_column("answers", sa.Column("adjudicates", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("comparisons", sa.Column("needs", TEXTS, server_default="{}", nullable=False))
    op.add_column("comparisons", sa.Column("counted", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("comparisons", sa.Column("uncertainty", sa.Float(), nullable=True))
    op.execute("""
        UPDATE comparisons SET counted = found.counted
        FROM (
            SELECT comparison_id, count(*) AS counted FROM answers
            WHERE verdict IN ('preferred', 'tie', 'both_bad') GROUP BY comparison_id
        ) AS found
        WHERE found.comparison_id = comparisons.id
    """)
    op.create_check_constraint("counted_not_negative", "comparisons", "counted >= 0")
    op.drop_index("ix_comparisons_waiting", "comparisons")
    op.create_index(
        "ix_comparisons_waiting",
        "comparisons",
        [
            "project_id",
            sa.text("priority DESC"),
            sa.text("counted DESC"),
            sa.text("uncertainty DESC NULLS LAST"),
            "id",
        ],
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_table(
        "standings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_because", sa.Text(), nullable=True),
        sa.Column("excluded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("excluded_because", sa.Text(), nullable=True),
        sa.Column("decided_by_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(paused_at IS NULL) = (paused_because IS NULL)", name=op.f("ck_standings_a_pause_has_a_reason")
        ),
        sa.CheckConstraint(
            "(excluded_at IS NULL) = (excluded_because IS NULL)", name=op.f("ck_standings_an_exclusion_has_a_reason")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_standings_project_id_projects"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_standings_user_id_users"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["decided_by_id"], ["users.id"], name=op.f("fk_standings_decided_by_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_standings")),
        sa.UniqueConstraint("project_id", "user_id", name=op.f("uq_standings_project_id_user_id")),
    )
    op.create_index(op.f("ix_standings_user_id"), "standings", ["user_id"])


def downgrade() -> None:
    op.drop_table("standings")
    op.drop_index("ix_comparisons_waiting", "comparisons")
    op.create_index(
        "ix_comparisons_waiting",
        "comparisons",
        ["project_id", sa.text("priority DESC"), "id"],
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.drop_constraint("counted_not_negative", "comparisons", type_="check")
    op.drop_column("comparisons", "uncertainty")
    op.drop_column("comparisons", "counted")
    op.drop_column("comparisons", "needs")
    op.drop_column("answers", "adjudicates")
    op.drop_column("prompts", "needs")
    op.drop_column("users", "abilities")
