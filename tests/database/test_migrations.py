"""The migrations make exactly the models' schema, run downwards too, and the queue's tables stand beside them."""

from collections.abc import Iterator

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from app.database import migrate
from app.queue import conninfo, upgrade_queue_schema
from app.settings import settings


@pytest.fixture
def empty_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database of its own, dropped afterwards, so that downgrades harm nobody."""
    url = make_url(settings.database_url)
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("drop database if exists migrations_test"))
        connection.execute(text("create database migrations_test"))
    name = url.set(database="migrations_test").render_as_string(hide_password=False)
    monkeypatch.setattr(settings, "database_url", name)
    yield name
    with server.connect() as connection:
        connection.execute(text("drop database migrations_test with (force)"))
    server.dispose()


def test_upgrade_from_empty_equals_the_models_and_every_downgrade_runs(empty_database: str) -> None:
    config = Config(toml_file="pyproject.toml")
    command.upgrade(config, "head")
    command.check(config)
    command.downgrade(config, "base")
    with psycopg.connect(conninfo()) as connection:
        left = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    assert left == [("alembic_version",)]
    command.upgrade(config, "head")


def test_the_queue_s_tables_are_made_once_and_then_left_alone(empty_database: str) -> None:
    assert upgrade_queue_schema() == ["schema.sql"]
    assert upgrade_queue_schema() == []


def test_migrating_twice_is_harmless(empty_database: str) -> None:
    migrate()
    migrate()
