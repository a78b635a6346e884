"""What was said in chats, kept apart from a snapshot's table: erasure may remove it, and the table stays as hashed.

The table holds such an answer with its texts empty, and chats.parquet holds the texts by answer, in the same order.
Where these are gone, the answer reads as it does in the database since then: skipped, about texts that were removed.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from app.accounts.erasure import REMOVED

CHAT = "chat"
_GONE: dict[str, Any] = {
    "prompt": [{"role": "user", "content": REMOVED}],
    "response_a": REMOVED,
    "response_b": REMOVED,
    "prompt_token_ids": None,
    "tokens_a": None,
    "tokens_b": None,
}
TEXTS = tuple(_GONE)
"""The columns that lie apart."""
_UNSAID: dict[str, Any] = {"verdict": "skipped", "preferred": None, "strength": None, "skip_reason": "erased"}
NEEDED = ("answer", "source")
"""What `together` looks at, beside what it fills in."""


def apart(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The rows with the texts of chats taken out, and these with their answers."""
    in_chat = pc.fill_null(pc.equal(rows["source"], CHAT), False)
    texts = rows.select(["answer", *TEXTS]).filter(in_chat)
    if texts.num_rows:
        taken = pc.if_else(in_chat, pa.scalar(None, pa.int64()), pa.array(range(rows.num_rows)))
        columns = [rows[name].take(taken) if name in TEXTS else rows[name] for name in rows.schema.names]
        rows = pa.record_batch(columns, schema=rows.schema)
    return rows, texts


def together(rows: Iterator[pa.RecordBatch], texts: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The table's rows with the texts of chats in their places; both come in the order of the answers' ids."""
    said = (one for batch in texts for one in batch.to_pylist())
    following = next(said, None)
    for batch in rows:
        filled = batch.to_pylist() if CHAT in pc.unique(batch["source"]).to_pylist() else []
        for row in filled:
            while following is not None and int(following["answer"]) < int(row["answer"]):
                following = next(said, None)
            if row["source"] == CHAT:
                is_there = following is not None and following["answer"] == row["answer"]
                found = following if is_there and following else _GONE | _UNSAID
                row.update((name, value) for name, value in found.items() if name in row)
        yield pa.RecordBatch.from_pylist(filled, schema=batch.schema) if filled else batch
