"""COPY on the session's own connection: rows by the thousand, within the session's transaction."""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

BROUGHT = """
    create temporary table if not exists brought (
        messages jsonb, hash text, holdout bool, tags text[], source text, priority int, needs text[]
    ) on commit delete rows
"""
COLUMNS = ("messages", "hash", "holdout", "tags", "source", "priority", "needs")
"""Of a prompt as it is brought; `messages` is its JSON."""
INSERT = """
    insert into prompts (project_id, run_id, sampled, messages, hash, holdout, tags, source, priority, needs)
    select :project, :run, :sampled, messages, hash, holdout, tags, source, priority, needs from brought
    on conflict (project_id, hash) do
"""
LEAVE = text(INSERT + "nothing")
# A prompt that so far only came inside comparisons, or was withdrawn, is brought (back) into use.
TAKE_INTO_USE = text(
    INSERT
    + """update set sampled = true, withdrawn_at = null
         where not prompts.sampled or prompts.withdrawn_at is not null"""
)


def insert_prompts(
    session: Session, project_id: int, run_id: int | None, rows: Iterable[dict[str, Any]], *, sampled: bool
) -> int:
    """Add prompts (rows of COLUMNS) that the project has not; those it has come into use where `sampled`.

    Returns how many were added or came into use.
    """
    session.execute(text(BROUGHT))
    session.execute(text("truncate brought"))
    ready = ({**row, "tags": array(row["tags"]), "needs": array(row["needs"])} for row in rows)
    copy(session, "brought", COLUMNS, ([row[name] for name in COLUMNS] for row in ready))
    values = {"project": project_id, "run": run_id, "sampled": sampled}
    inserted = session.execute(TAKE_INTO_USE if sampled else LEAVE, values)
    return int(inserted.rowcount)  # type: ignore[attr-defined]


def copy(session: Session, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Send rows into a table; its other columns take their defaults."""
    session.flush()
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    statement = f"copy {table} ({', '.join(columns)}) from stdin"
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as stream:
        for row in rows:
            stream.write_row(row)


def array(texts: Sequence[str]) -> str:
    """Texts as Postgres writes an array of them; the driver's own way takes as long as all else of a row together."""
    if not texts:
        return "{}"
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in escaped) + "}"


def take_ids(session: Session, table: str, count: int) -> list[int]:
    """So many new ids for a table, rising, so that rows which name each other can be copied at once."""
    query = text("select nextval(pg_get_serial_sequence(:table, 'id')) from generate_series(1, :count)")
    return list(session.scalars(query, {"table": table, "count": count}))
