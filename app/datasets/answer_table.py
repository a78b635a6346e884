"""A snapshot's table: one row per answer, its columns, the query that fills it, and what is counted on the way."""

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import ColumnElement, Row, Select, SQLColumnExpression, Text, cast, func, select, type_coerce
from sqlalchemy.orm import Session, aliased
from sqlalchemy.types import NullType

from app.datasets.filters import Filters
from app.datasets.pseudonyms import pseudonym
from app.models import Answer, Assignment, Comparison, Project, Prompt, Response

VERSION = 1
"""Raised when a column changes its meaning; kept in the manifest and in the files."""
Columns = dict[str, Sequence[Any]]
"""Rows of `statement`, turned: the values of each column, in the order of the rows."""
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
IDS = {"answer", "comparison", "prompt_id", "response_a_id", "response_b_id", "checkpoint_a", "checkpoint_b"}


@dataclass
class Counts:
    """What the table holds, for the manifest; `held` and `revisions` name every answer and the revision taken."""

    held: "array[int]" = field(default_factory=lambda: array("q"))
    revisions: "array[int]" = field(default_factory=lambda: array("i"))
    verdicts: Counter[str] = field(default_factory=Counter)
    purposes: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    guideline_versions: Counter[int] = field(default_factory=Counter)
    writers: Counter[tuple[int | None, str | None]] = field(default_factory=Counter)
    """Responses by checkpoint and base model; neither: imported text."""
    annotators: set[int] = field(default_factory=set)
    holdout: int = 0
    simulated: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def add(self, columns: Columns) -> None:
        """Count some rows of `statement`."""
        self.held.extend(columns["answer"])
        self.revisions.extend(columns["revision"])
        self.verdicts.update(columns["verdict"])
        self.purposes.update(columns["purpose"])
        self.sources.update(columns["source"])
        self.guideline_versions.update(version for version in columns["guideline_version"] if version is not None)
        for side in "ab":
            self.writers.update(zip(columns[f"checkpoint_{side}"], columns[f"base_{side}"], strict=True))
        self.annotators.update(person for person in columns["annotator"] if person is not None)
        self.holdout += sum(columns["holdout"])
        self.simulated += sum(columns["simulated"])
        moments = columns["created"]
        self.first = min(self.first or moments[0], *moments)
        self.last = max(self.last or moments[0], *moments)


def write(
    session: Session, project: Project, filters: Filters, directory: Path, report: Callable[[int], None]
) -> Counts:
    """Write answers.parquet and rationales.parquet in the order of the answers' ids, in constant memory.

    The answers are locked against undoing (not against correcting) until the transaction ends. `report` is told how
    many were written; what it raises ends the writing.
    """
    counts = Counts()
    # The project is part of the bytes, so that two projects without answers still have snapshots of their own.
    mark = {"pairloop.table": str(VERSION), "pairloop.project": str(project.id)}
    query = statement(project, filters).with_for_update(read=True, key_share=True, of=Answer)
    with (
        pq.ParquetWriter(directory / "answers.parquet", SCHEMA.with_metadata(mark), compression="zstd") as answers,
        pq.ParquetWriter(directory / "rationales.parquet", RATIONALES, compression="zstd") as rationales,
        # The connection's own execute: these rows are no objects of the session, so its bookkeeping is left out.
        session.connection().execute(query, execution_options={"yield_per": ROWS}) as found,
    ):
        for rows in found.partitions():
            columns = _turned(rows)
            counts.add(columns)
            answers.write_batch(_batch(columns, SCHEMA.with_metadata(mark)), row_group_size=ROWS)
            said = [(id, text) for id, text in zip(columns["answer"], columns["rationale"], strict=True) if text]
            if said:
                ids, texts = zip(*said, strict=True)
                rationales.write_batch(_batch({"answer": ids, "rationale": texts}, RATIONALES), row_group_size=ROWS)
            report(len(counts.held))
    return counts


def preview(
    session: Session, project: Project, filters: Filters, rows: int
) -> tuple[pa.RecordBatch, Iterator[tuple[str, str]]]:
    """The newest few answers as a snapshot would hold them, oldest first, and their rationales."""
    query = statement(project, filters).order_by(None).order_by(Answer.id.desc()).limit(rows)
    columns = _turned(session.connection().execute(query).all()[::-1])
    said = zip((str(id) for id in columns.get("answer", ())), columns.get("rationale", ()), strict=True)
    return _batch(columns, SCHEMA), said


def statement(project: Project, filters: Filters) -> Select[*tuple[Any, ...]]:
    """One row per answer of the project that the filters take, in the order of the ids."""
    a, b = aliased(Response, name="a"), aliased(Response, name="b")
    seconds = func.coalesce(Answer.seconds_client, Answer.seconds_server)
    return (
        select(
            Answer.id.label("answer"),
            Answer.comparison_id.label("comparison"),
            Prompt.id.label("prompt_id"),
            cast(Prompt.messages, Text).label("prompt"),
            Prompt.hash.label("prompt_hash"),
            Prompt.holdout,
            a.text.label("response_a"),
            b.text.label("response_b"),
            a.id.label("response_a_id"),
            b.id.label("response_b_id"),
            _as_sent(func.coalesce(a.prompt_token_ids, b.prompt_token_ids)).label("prompt_token_ids"),
            _as_sent(a.token_ids).label("tokens_a"),
            _as_sent(b.token_ids).label("tokens_b"),
            a.finish_reason.label("finish_a"),
            b.finish_reason.label("finish_b"),
            a.checkpoint_id.label("checkpoint_a"),
            b.checkpoint_id.label("checkpoint_b"),
            a.base_model.label("base_a"),
            b.base_model.label("base_b"),
            Answer.verdict,
            Answer.preferred,
            Answer.strength,
            Answer.skip_reason,
            _as_sent(Answer.flags).label("flags"),
            # Postgres writes the keys of a JSON object in an order of its own, always the same one.
            cast(Answer.criteria, Text).label("criteria"),
            Answer.user_id.label("annotator"),
            seconds.label("seconds"),
            Answer.created_at.label("created"),
            Answer.guideline_version,
            Answer.source,
            Answer.simulated,
            Answer.revision,
            Answer.rationale,
            Comparison.purpose,
            Assignment.shown_left,
        )
        .join(Comparison, Comparison.id == Answer.comparison_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(a, a.id == Comparison.response_a_id)
        .join(b, b.id == Comparison.response_b_id)
        .outerjoin(Assignment, Assignment.id == Answer.assignment_id)
        .where(*filters.where(project))
        .order_by(Answer.id)
    )


def _as_sent(array: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """The list that the driver makes of an array, without SQLAlchemy's copy of it (a fifth of all the time)."""
    return type_coerce(array, NullType())


def _turned(rows: Sequence[Row[Any]]) -> Columns:
    return dict(zip(rows[0]._fields, zip(*rows, strict=True), strict=True)) if rows else {}


def _batch(columns: Columns, schema: pa.Schema) -> pa.RecordBatch:
    """Columns of `statement` as the table has them: ids as strings, people as pseudonyms; no columns: no rows."""
    arrays = []
    for item in schema:
        values = columns.get(item.name, ())
        if item.name == "annotator":
            values = [None if person is None else pseudonym(person) for person in values]
        elif item.name == "prompt":
            values = json.loads(f"[{','.join(values)}]")  # one call for all takes a tenth of the time of one for each
        elif item.name in IDS:
            values = [None if id is None else str(id) for id in values]
        arrays.append(pa.array(list(values), type=item.type))
    return pa.record_batch(arrays, schema=schema)


def iso(moment: datetime | None) -> str | None:
    """A moment as the manifests write it."""
    return moment.astimezone(UTC).isoformat() if moment else None


def batches_of(file: Any, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, a group at a time."""
    yield from pq.ParquetFile(file).iter_batches(batch_size=ROWS, columns=columns)
