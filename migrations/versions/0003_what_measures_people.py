"""Gold comparisons, one's own pairs once more, the qualification round, and guidelines that were read"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

PAIR = [sa.text("least(response_a_id, response_b_id)"), sa.text("greatest(response_a_id, response_b_id)")]
ORDER = [sa.text("priority DESC"), sa.text("counted DESC"), sa.text("uncertainty DESC NULLS LAST"), "id"]
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("answers", sa.Column("measures", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("assignments", sa.Column("undone", sa.SmallInteger(), server_default="0", nullable=False))
    op.create_index("ix_assignments_latest", "assignments", ["project_id", "user_id", sa.text("claimed_at DESC")])
    _comparisons()
    _readings()
    _qualifications()


def _comparisons() -> None:
    # Nothing made gold comparisons before; one that was written into the table by hand has no known answer.
    op.execute("UPDATE comparisons SET purpose = 'train', status = 'withdrawn' WHERE purpose = 'gold'")
    op.add_column("comparisons", sa.Column("expected_verdict", sa.Text(), nullable=True))
    op.add_column("comparisons", sa.Column("expected_preferred", sa.Text(), nullable=True))
    op.add_column("comparisons", sa.Column("asks_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(op.f("fk_comparisons_asks_id_users"), "comparisons", "users", ["asks_id"], ["id"])
    for name, rule in (
        ("gold_has_an_answer", "(purpose = 'gold') = (expected_verdict IS NOT NULL)"),
        ("known_expected_verdict", "expected_verdict IN ('preferred', 'tie', 'both_bad')"),
        ("known_expected_preferred", "expected_preferred IN ('a', 'b')"),
        (
            "expected_says_which",
            "(expected_verdict IS NOT DISTINCT FROM 'preferred') = (expected_preferred IS NOT NULL)",
        ),
        ("only_repeats_ask_one_person", "asks_id IS NULL OR purpose = 'repeat'"),
    ):
        op.create_check_constraint(name, "comparisons", rule)
    _index(
        "ix_comparisons_waiting", ["project_id", *ORDER], "status = 'waiting' AND purpose <> 'gold' AND asks_id IS NULL"
    )
    _index("uq_comparisons_one_repeat", PAIR, "purpose = 'repeat' AND status <> 'withdrawn' AND asks_id IS NULL")
    op.create_index(
        "uq_comparisons_one_own_repeat",
        "comparisons",
        ["asks_id", *PAIR],
        unique=True,
        postgresql_where=sa.text("asks_id IS NOT NULL"),
    )
    op.create_index(
        "uq_comparisons_one_gold",
        "comparisons",
        ["project_id", *PAIR],
        unique=True,
        postgresql_where=sa.text("purpose = 'gold' AND status <> 'withdrawn'"),
    )


def _readings() -> None:
    op.create_table(
        "guideline_readings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_guideline_readings_user_id_users"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["guideline_versions.id"],
            name=op.f("fk_guideline_readings_version_id_guideline_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guideline_readings")),
        sa.UniqueConstraint("user_id", "version_id", name=op.f("uq_guideline_readings_user_id_version_id")),
    )
    op.create_index(op.f("ix_guideline_readings_version_id"), "guideline_readings", ["version_id"])
    # Who answered under a version had it beside the work.
    op.execute("""
        INSERT INTO guideline_readings (user_id, version_id)
        SELECT DISTINCT answers.user_id, guideline_versions.id FROM answers
        JOIN guideline_versions ON guideline_versions.project_id = answers.project_id
            AND guideline_versions.version = answers.guideline_version
        WHERE answers.user_id IS NOT NULL AND answers.source IN ('page', 'api')
    """)


def _qualifications() -> None:
    op.create_table(
        "qualifications",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("needed", sa.BigInteger(), nullable=False),
        sa.Column("right", sa.BigInteger(), nullable=True),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("told_at", MOMENT, nullable=True),
        sa.Column("let_in_at", MOMENT, nullable=True),
        sa.Column("decided_because", sa.Text(), nullable=True),
        sa.Column("decided_by_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("asked >= 1 AND needed BETWEEN 0 AND asked", name=op.f("ck_qualifications_needed_of_asked")),
        sa.CheckConstraint('"right" BETWEEN 0 AND asked', name=op.f("ck_qualifications_right_of_asked")),
        sa.CheckConstraint(
            '(ended_at IS NULL) = ("right" IS NULL)', name=op.f("ck_qualifications_an_end_has_a_result")
        ),
        sa.CheckConstraint(
            "let_in_at IS NULL OR decided_because IS NOT NULL",
            name=op.f("ck_qualifications_a_decision_has_a_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_qualifications_project_id_projects"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_qualifications_user_id_users"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["decided_by_id"], ["users.id"], name=op.f("fk_qualifications_decided_by_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_qualifications")),
        sa.UniqueConstraint("project_id", "user_id", name=op.f("uq_qualifications_project_id_user_id")),
    )
    op.create_index(op.f("ix_qualifications_user_id"), "qualifications", ["user_id"])


def _index(name: str, columns: list[str | sa.TextClause], where: str) -> None:
    """Make an index anew for other rows."""
    op.drop_index(name, "comparisons")
    op.create_index(name, "comparisons", columns, unique=name.startswith("uq"), postgresql_where=sa.text(where))


def downgrade() -> None:
    op.drop_table("qualifications")
    op.drop_table("guideline_readings")
    # Without these columns an own repeat would look like one for everybody, and gold has no answer any more.
    op.execute("UPDATE comparisons SET status = 'withdrawn' WHERE asks_id IS NOT NULL OR purpose = 'gold'")
    op.drop_index("uq_comparisons_one_gold", "comparisons")
    op.drop_index("uq_comparisons_one_own_repeat", "comparisons")
    _index("uq_comparisons_one_repeat", PAIR, "purpose = 'repeat' AND status <> 'withdrawn'")
    _index("ix_comparisons_waiting", ["project_id", *ORDER], "status = 'waiting'")
    op.drop_column("comparisons", "asks_id")
    op.drop_column("comparisons", "expected_preferred")
    op.drop_column("comparisons", "expected_verdict")
    op.drop_index("ix_assignments_latest", "assignments")
    op.drop_column("assignments", "undone")
    op.drop_column("answers", "measures")
