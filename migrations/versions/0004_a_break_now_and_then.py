"""A break now and then: after how many minutes of steady work the label page reminds somebody of it"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("users", sa.Column("break_after", sa.SmallInteger(), server_default="45", nullable=False))
    op.create_check_constraint("a_break_within_hours", "users", "break_after BETWEEN 0 AND 240")


def downgrade() -> None:
    op.drop_constraint("a_break_within_hours", "users", type_="check")
    op.drop_column("users", "break_after")
