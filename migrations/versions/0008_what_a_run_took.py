"""Where a run worked and what it took, and a pause of everything that starts by itself"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("runs", sa.Column("facts", postgresql.JSONB(), server_default="{}", nullable=False))
    op.add_column("projects", sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("projects", "paused_at")
    op.drop_column("runs", "facts")
