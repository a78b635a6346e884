"""Who did what, people who may be forgotten, invitations into a project, lists of a million prompts"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

TEXTS = postgresql.ARRAY(sa.Text())
ROLES = "ARRAY['annotator','admin','operator']::text[]"
ERASED_IS_NOBODY = """
    CASE WHEN erased_at IS NULL THEN email IS NOT NULL
    ELSE email IS NULL AND name = '' AND password_hash IS NULL AND roles = '{}' AND language IS NULL
    AND abilities IS NULL AND deactivated_at IS NOT NULL END
"""
# For everybody, whoever owns the table: nothing written here changes.
REFUSE = """
    CREATE FUNCTION refuse_to_change_the_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'The audit log is only ever added to.' USING ERRCODE = 'integrity_constraint_violation';
    END $$
"""
# The words of a prompt. One that would not fit into a tsvector (a megabyte) is not found by its words.
WORDS = """
    CREATE FUNCTION prompt_words(messages jsonb) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN octet_length(messages::text) < 500000
        THEN to_tsvector('pg_catalog.simple', jsonb_path_query_array(messages, '$[*].content')) END
"""


def upgrade() -> None:
    _audit_log()
    _people()
    _prompts()


def _audit_log() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=True),
        sa.Column("about_id", sa.BigInteger(), nullable=True),
        sa.Column("project_id", sa.BigInteger(), nullable=True),
        sa.Column("details", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["users.id"], name=op.f("fk_audit_events_person_id_users")),
        sa.ForeignKeyConstraint(["about_id"], ["users.id"], name=op.f("fk_audit_events_about_id_users")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_audit_events_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    newest = sa.text("id DESC")
    op.create_index("ix_audit_events_of_project", "audit_events", ["project_id", newest])
    op.create_index("ix_audit_events_of_person", "audit_events", ["person_id", newest])
    op.create_index("ix_audit_events_about", "audit_events", ["about_id", newest])
    op.execute(REFUSE)
    op.execute("""
        CREATE TRIGGER only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_the_audit_log()
    """)


def _people() -> None:
    op.add_column("users", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.alter_column("users", "email", nullable=True)
    op.create_check_constraint("erased_is_nobody", "users", ERASED_IS_NOBODY)
    op.add_column("invitations", sa.Column("project_id", sa.BigInteger(), nullable=True))
    op.add_column("invitations", sa.Column("project_roles", TEXTS, server_default="{}", nullable=False))
    op.create_foreign_key(
        op.f("fk_invitations_project_id_projects"),
        "invitations",
        "projects",
        ["project_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index(op.f("ix_invitations_project_id"), "invitations", ["project_id"])
    op.create_check_constraint("known_project_roles", "invitations", f"project_roles <@ {ROLES}")
    op.create_check_constraint("a_project_has_roles", "invitations", "(project_id IS NULL) = (project_roles = '{}')")
    op.create_check_constraint("gives_a_role", "invitations", "roles <> '{}' OR project_roles <> '{}'")
    op.create_table(
        "sign_in_links",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sign_in_links_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_sign_in_links")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sign_in_links_token_hash")),
    )


def _prompts() -> None:
    op.execute(WORDS)
    op.create_index("ix_prompts_newest", "prompts", ["project_id", "id"])
    op.create_index("ix_prompts_by_priority", "prompts", ["project_id", "priority", "id"])
    op.create_index("ix_prompts_by_use", "prompts", ["project_id", "times_sampled", "id"])
    for name, which in (
        ("withdrawn", "withdrawn_at IS NOT NULL"),
        ("holdout", "holdout AND withdrawn_at IS NULL"),
        ("inside", "NOT sampled AND withdrawn_at IS NULL"),
    ):
        op.create_index(f"ix_prompts_{name}", "prompts", ["project_id", "id"], postgresql_where=sa.text(which))
    op.create_index("ix_prompts_tags", "prompts", ["tags"], postgresql_using="gin")
    op.create_index("ix_prompts_words", "prompts", [sa.text("prompt_words(messages)")], postgresql_using="gin")


def downgrade() -> None:
    for name in ("words", "tags", "inside", "holdout", "withdrawn", "by_use", "by_priority", "newest"):
        op.drop_index(f"ix_prompts_{name}", "prompts")
    op.execute("DROP FUNCTION prompt_words(jsonb)")
    op.drop_table("sign_in_links")
    # Invitations that give roles in one project alone did not exist before.
    op.execute("DELETE FROM invitations WHERE roles = '{}'")
    for name in ("gives_a_role", "a_project_has_roles", "known_project_roles"):
        op.drop_constraint(name, "invitations", type_="check")
    op.drop_column("invitations", "project_roles")
    op.drop_column("invitations", "project_id")
    op.drop_constraint("erased_is_nobody", "users", type_="check")
    op.execute("UPDATE users SET email = 'erased-' || id || '@invalid' WHERE email IS NULL")
    op.alter_column("users", "email", nullable=False)
    op.drop_column("users", "erased_at")
    op.drop_table("audit_events")
    op.execute("DROP FUNCTION refuse_to_change_the_audit_log()")
