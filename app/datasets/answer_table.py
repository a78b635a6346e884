"""A snapshot's table: one row per answer, its columns, the query that fills it, and what is counted on the way."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import BigInteger, ColumnElement, Select, and_, func, select
from sqlalchemy.orm import Session, aliased

from app.datasets import chat_texts, copied, rules
from app.datasets.beside import in_order
from app.datasets.filters import Filters
from app.datasets.pseudonyms import pseudonym
from app.models import Answer, Assignment, Comparison, Project, Prompt, Response

VERSION = 1
"""Raised when a column changes its meaning; kept in the manifest and in the files."""
ROWS = 2048
"""Rows per group: what is held in memory at once, and part of what makes the same answers the same bytes."""
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TOKENS = pa.list_(pa.int32())

SCHEMA = pa.schema(
    [
        ("answer", pa.string()),
        ("comparison", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", MESSAGES),
        ("prompt_hash", pa.string()),
        ("holdout", pa.bool_()),
        ("response_a", pa.string()),
        ("response_b", pa.string()),
        ("response_a_id", pa.string()),
        ("response_b_id", pa.string()),
        ("prompt_token_ids", TOKENS),
        ("tokens_a", TOKENS),
        ("tokens_b", TOKENS),
        ("finish_a", pa.string()),
        ("finish_b", pa.string()),
        ("verdict", pa.string()),
        ("preferred", pa.string()),
        ("strength", pa.int8()),
        ("skip_reason", pa.string()),
        ("flags", pa.list_(pa.string())),
        ("criteria", pa.string()),
        ("annotator", pa.string()),
        ("seconds", pa.float64()),
        ("created", pa.timestamp("us", tz="UTC")),
        ("guideline_version", pa.int32()),
        ("checkpoint_a", pa.string()),
        ("checkpoint_b", pa.string()),
        ("source", pa.string()),
        ("simulated", pa.bool_()),
        ("purpose", pa.string()),
        ("shown_left", pa.string()),
        ("revision", pa.int32()),
    ]
)
RATIONALES = pa.schema([("answer", pa.string()), ("rationale", pa.string())])
CHATS = pa.schema([SCHEMA.field(name) for name in ("answer", *chat_texts.TEXTS)])
READ = pa.schema(
    [
        *(item.with_type(pa.int64()) if item.name == "annotator" else item for item in SCHEMA),
        *(pa.field(name, pa.string()) for name in ("rationale", "base_a", "base_b")),
    ]
)
"""What is read: the table, people by their ids, and what is counted or lies apart."""
ONCE = {
    "prompt_again": ("prompt", "prompt_hash", "holdout"),
    "pair_again": (
        "prompt_token_ids",
        *(f"{name}_{side}" for name in ("response", "tokens", "finish", "checkpoint", "base") for side in "ab"),
    ),
}
"""What Postgres sends but once for answers in a row about the same prompt, or the same pair of responses."""
SENT = pa.schema([*READ, *(pa.field(flag, pa.bool_()) for flag in ONCE)])
"""What `statement` gives."""
FEW_VALUES = ["verdict", "preferred", "annotator", "source", "purpose", "finish_a", "finish_b", "shown_left"]
"""Text columns worth a dictionary; for the long ones looking for repetition costs a third of the time of writing."""


@dataclass
class Counts:
    """What the table holds, for the manifest; `held` and `revisions` name every answer and the revision taken."""

    held: "array[int]" = field(default_factory=lambda: array("q"))
    revisions: "array[int]" = field(default_factory=lambda: array("i"))
    verdicts: Counter[str] = field(default_factory=Counter)
    purposes: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    guideline_versions: Counter[int] = field(default_factory=Counter)
    writers: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    """Responses by checkpoint and base model; neither: imported text."""
    annotators: set[int] = field(default_factory=set)
    holdout: int = 0
    simulated: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def add(self, rows: pa.RecordBatch) -> None:
        """Count some rows as they were read."""
        self.held.frombytes(rows["answer"].cast(pa.int64()).to_numpy().tobytes())
        self.revisions.frombytes(rows["revision"].to_numpy().tobytes())
        self.verdicts.update(_counted(rows["verdict"]))
        self.purposes.update(_counted(rows["purpose"]))
        self.sources.update(_counted(rows["source"]))
        self.guideline_versions.update(_counted(rows["guideline_version"].drop_null()))
        for side in "ab":
            wrote = rows.select([f"checkpoint_{side}", f"base_{side}"])
            found = pa.Table.from_batches([wrote]).group_by(wrote.schema.names).aggregate([([], "count_all")])
            self.writers.update({(id, base): n for id, base, n in zip(*found.to_pydict().values(), strict=True)})
        self.annotators.update(rows["annotator"].drop_null().unique().to_pylist())
        self.holdout += rows["holdout"].true_count
        self.simulated += rows["simulated"].true_count
        moments = pc.min_max(rows["created"]).as_py()
        self.first = min(self.first or moments["min"], moments["min"])
        self.last = max(self.last or moments["max"], moments["max"])


def _counted(column: pa.Array) -> dict[Any, int]:
    return {one["values"]: one["counts"] for one in column.value_counts().to_pylist()}


def write(
    session: Session, project: Project, filters: Filters, directory: Path, report: Callable[[int], None]
) -> Counts:
    """Write the three tables of a snapshot in the order of the answers' ids, in constant memory.

    The answers are locked against undoing (not against correcting) until the transaction ends. `report` is told how
    many were written; what it raises ends the writing.
    """
    counts = Counts()
    # The project is part of the bytes, so that two projects without answers still have snapshots of their own.
    mark = {"pairloop.table": str(VERSION), "pairloop.project": str(project.id)}
    query = statement(session, project, filters, lock=True)
    with (
        writer(directory / "answers.parquet", SCHEMA.with_metadata(mark)) as answers,
        writer(directory / "rationales.parquet", RATIONALES) as rationales,
        writer(directory / "chats.parquet", CHATS) as chats,
    ):

        def put(chunk: bytes) -> int:
            read = _read(chunk)
            counts.add(read)
            rows, texts = chat_texts.apart(_batch(read))
            answers.write_batch(rows.replace_schema_metadata(mark), row_group_size=ROWS)
            if texts.num_rows:
                chats.write_batch(texts, row_group_size=ROWS)
            said = read.select(RATIONALES.names).filter(pc.not_equal(read["rationale"], ""))
            if said.num_rows:
                rationales.write_batch(said, row_group_size=ROWS)
            return len(counts.held)

        # Closed where a chunk cannot be put: what is still under way would keep the connection for ever.
        with closing(copied.chunks(session.connection(), query, ROWS)) as chunks:
            # Postgres makes the next chunk meanwhile.
            for done in in_order(put, chunks, 1):
                report(done)
    return counts


def preview(
    session: Session, project: Project, filters: Filters, rows: int
) -> tuple[pa.RecordBatch, Iterator[tuple[str, str]]]:
    """The newest few answers as a snapshot would hold them, oldest first, and their rationales."""
    query = statement(session, project, filters, newest=rows)
    found = [_read(chunk) for chunk in copied.chunks(session.connection(), query, rows)]
    read = found[0] if found else pa.RecordBatch.from_pylist([], schema=READ)
    return _batch(read), zip(read["answer"].to_pylist(), read["rationale"].to_pylist(), strict=True)


def statement(
    session: Session, project: Project, filters: Filters, *, newest: int | None = None, lock: bool = False
) -> Select[*tuple[Any, ...]]:
    """One row per answer of the project that the filters take, in the order of the ids; its columns are SENT's.

    `newest`: no more than so many, the latest ones. `lock`: nobody can undo them until the transaction ends.
    """
    compared = (Comparison.prompt_id, Comparison.response_a_id, Comparison.response_b_id, Comparison.purpose)
    found = (
        select(*Answer.__table__.columns, *compared)
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .where(*rules.where(session, project, filters))
        .order_by(Answer.id if newest is None else Answer.id.desc())
        .limit(newest)
    )
    if lock:
        found = found.with_for_update(read=True, key_share=True, of=Answer)
    answers = found.subquery("found")
    # Counted anew in each chunk, so that none needs the one before.
    begins = func.mod(func.row_number().over(order_by=answers.c.id) - 1, ROWS) == 0

    def as_before(column: ColumnElement[Any]) -> ColumnElement[bool]:
        before = func.lag(column).over(order_by=answers.c.id)
        return and_(func.coalesce(before == column, False), ~begins)

    taken = select(
        *answers.c,
        as_before(answers.c.prompt_id).label("prompt_again"),
        as_before(answers.c.comparison_id).label("pair_again"),
    ).subquery("taken")
    row = taken.c
    a, b = aliased(Response, name="a"), aliased(Response, name="b")
    return (
        select(
            row.id.label("answer"),
            row.comparison_id.label("comparison"),
            row.prompt_id,
            Prompt.messages.label("prompt"),
            Prompt.hash.label("prompt_hash"),
            Prompt.holdout,
            a.text.label("response_a"),
            b.text.label("response_b"),
            row.response_a_id,
            row.response_b_id,
            func.coalesce(a.prompt_token_ids, b.prompt_token_ids).label("prompt_token_ids"),
            a.token_ids.label("tokens_a"),
            b.token_ids.label("tokens_b"),
            a.finish_reason.label("finish_a"),
            b.finish_reason.label("finish_b"),
            row.verdict,
            row.preferred,
            row.strength,
            row.skip_reason,
            row.flags,
            # Postgres writes the keys of a JSON object in an order of its own, always the same one.
            row.criteria,
            row.user_id.label("annotator"),
            func.coalesce(row.seconds_client, row.seconds_server).label("seconds"),
            (func.extract("epoch", row.created_at) * 1_000_000).cast(BigInteger).label("created"),
            row.guideline_version,
            a.checkpoint_id.label("checkpoint_a"),
            b.checkpoint_id.label("checkpoint_b"),
            row.source,
            row.simulated,
            row.purpose,
            Assignment.shown_left,
            row.revision,
            row.rationale,
            a.base_model.label("base_a"),
            b.base_model.label("base_b"),
            row.prompt_again,
            row.pair_again,
        )
        .select_from(taken)
        .outerjoin(Prompt, and_(Prompt.id == row.prompt_id, ~row.prompt_again))
        .outerjoin(a, and_(a.id == row.response_a_id, ~row.pair_again))
        .outerjoin(b, and_(b.id == row.response_b_id, ~row.pair_again))
        .outerjoin(Assignment, Assignment.id == row.assignment_id)
        .order_by(row.id)
    )


def _read(chunk: bytes) -> pa.RecordBatch:
    """A chunk of `statement`'s rows, with what is as before in its place."""
    sent = copied.batch(chunk, SENT)
    source = {name: _last_said(sent[flag]) for flag, names in ONCE.items() for name in names}
    columns = [sent[name].take(source[name]) if name in source else sent[name] for name in READ.names]
    return pa.record_batch(columns, schema=READ)


def _last_said(again: pa.Array) -> pa.Array:
    """For each row the last one, itself or before it, that is not said again."""
    said = pc.if_else(again, 0, pa.array(np.arange(len(again))))
    return pa.array(np.maximum.accumulate(said.to_numpy()))


def _batch(read: pa.RecordBatch) -> pa.RecordBatch:
    """Rows as the table has them: people as pseudonyms, and without what lies elsewhere."""
    people = read["annotator"].dictionary_encode()
    names = pa.array([pseudonym(person) for person in people.dictionary.to_pylist()], pa.string())
    columns = [names.take(people.indices) if item.name == "annotator" else read[item.name] for item in SCHEMA]
    return pa.record_batch(columns, schema=SCHEMA)


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A Parquet file as Pairloop writes all of them."""
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=FEW_VALUES)


def iso(moment: datetime | None) -> str | None:
    """A moment as the manifests write it."""
    return moment.astimezone(UTC).isoformat() if moment else None


def batches_of(file: Any, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, a group at a time."""
    yield from pq.ParquetFile(file).iter_batches(batch_size=ROWS, columns=columns)
