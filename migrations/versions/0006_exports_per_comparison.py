"""Exports may have one row per comparison instead of one per answer.

Revision ID: 0006
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("exports", sa.Column("per", sa.Text(), server_default="answer", nullable=False))
    op.create_check_constraint(op.f("ck_exports_known_per"), "exports", "per IN ('answer', 'comparison')")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_exports_known_per"), "exports", type_="check")
    op.drop_column("exports", "per")
