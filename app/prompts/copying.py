"""COPY on the session's own connection: rows by the thousand, within the session's transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.datasets.copied import sending

NULL = "\\N"
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
"""What COPY would take for the end of a value or of a row."""
COLUMNS = ("messages", "hash", "holdout", "tags", "source", "priority", "needs")
"""Of a prompt as it is brought."""
# One text of all hashes: the driver takes a microsecond to write each value of an array.
KNOWN = text("select hash from prompts where project_id = :project and hash = any(string_to_array(:hashes, ','))")
# A prompt that so far only came inside comparisons, or was withdrawn, is brought (back) into use.
TAKE_INTO_USE = text("""
    update prompts set sampled = true, withdrawn_at = null
    where project_id = :project and hash = any(:hashes) and (not sampled or withdrawn_at is not null)
""")


def insert_prompts(
    session: Session, project_id: int, run_id: int | None, lines: Mapping[str, str], *, sampled: bool
) -> int:
    """Add prompts (the `line` of each by its hash) that the project has not; those it has come into use if `sampled`.

    Returns how many were added or came into use.
    """
    columns = ("project_id", "run_id", "sampled", *COLUMNS)
    alike = f"{project_id}\t{NULL if run_id is None else run_id}\t{'t' if sampled else 'f'}\t"
    while True:
        known = set(session.scalars(KNOWN, {"project": project_id, "hashes": ",".join(lines)}))
        new = [line for hash, line in lines.items() if hash not in known] if known else lines.values()
        try:
            with session.begin_nested(), sending(session, "prompts", columns) as stream:
                stream.write("".join([alike, alike.join(new)]) if new else "")
            break
        except psycopg.errors.UniqueViolation:
            # Somebody asked one of these in the meantime, and by now it is known.
            continue
    if not (sampled and known):
        return len(new)
    used = session.execute(TAKE_INTO_USE, {"project": project_id, "hashes": list(known)})
    return len(new) + int(used.rowcount)  # type: ignore[attr-defined]


def line(prompt: Mapping[str, Any]) -> str:
    """A prompt's COLUMNS as COPY reads them; `messages` is its JSON, which has no control characters to escape."""
    messages = prompt["messages"].replace("\\", "\\\\")
    holdout = "t" if prompt["holdout"] else "f"
    tags, needs = array(prompt["tags"]).translate(ESCAPES), array(prompt["needs"]).translate(ESCAPES)
    source = prompt["source"].translate(ESCAPES)
    return f"{messages}\t{prompt['hash']}\t{holdout}\t{tags}\t{source}\t{prompt['priority']}\t{needs}\n"


def copy(session: Session, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Send rows into a table; its other columns take their defaults."""
    with sending(session, table, columns) as stream:
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
