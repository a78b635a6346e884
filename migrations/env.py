"""Alembic's entry: one connection, one lock, one transaction."""

from alembic import context
from sqlalchemy import create_engine, text

from app.models import Base
from app.settings import settings


def run() -> None:
    engine = create_engine(settings.database_url)
    with engine.connect() as connection:
        # Two starters at once: the second waits, then finds nothing to do.
        connection.execute(text("select pg_advisory_lock(hashtext('pairloop migrations'))"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_server_default=True,
            transaction_per_migration=False,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.execute(text("select pg_advisory_unlock(hashtext('pairloop migrations'))"))
    engine.dispose()


run()
