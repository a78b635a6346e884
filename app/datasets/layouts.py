"""What the rows of an exported file look like: from a snapshot's batches to the batches of a layout.

- `preference`: TRL's explicit-prompt conversational form, one row per answer that prefers one response
- `raw`: one row per answer, with everything that is known about it
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.answer_table import MESSAGES, SCHEMA, TOKENS

PREFERENCE = pa.schema(
    [
        ("prompt", MESSAGES),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        ("strength", pa.int8()),
        ("answer", pa.string()),
        ("comparison", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt_hash", pa.string()),
        ("holdout", pa.bool_()),
        ("purpose", pa.string()),
        ("source", pa.string()),
        ("simulated", pa.bool_()),
        ("annotator", pa.string()),
        ("created", pa.timestamp("us", tz="UTC")),
        ("guideline_version", pa.int32()),
        ("checkpoint_chosen", pa.string()),
        ("checkpoint_rejected", pa.string()),
    ]
)
"""No value is ever null (text "" and version 0 mean: none), because `datasets` guesses JSONL's types from its first
10 MB and refuses a column that is null up to there and something later."""

RESPONSE = pa.struct(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("checkpoint", pa.string()),
        ("finish_reason", pa.string()),
        ("token_ids", TOKENS),
    ]
)
RAW = pa.schema(
    [
        ("answer", pa.string()),
        ("comparison", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt", MESSAGES),
        ("responses", pa.list_(RESPONSE)),
        ("shown_left", pa.string()),
        ("verdict", pa.string()),
        ("preferred", pa.string()),
        ("strength", pa.int8()),
        ("skip_reason", pa.string()),
        ("criteria", pa.string()),
        ("flags", pa.list_(pa.string())),
        ("rationale", pa.string()),
        ("annotator", pa.string()),
        ("seconds", pa.float64()),
        ("created", pa.timestamp("us", tz="UTC")),
        ("revision", pa.int32()),
        ("guideline_version", pa.int32()),
        ("checkpoints", pa.list_(pa.string())),
        ("source", pa.string()),
        ("simulated", pa.bool_()),
        ("purpose", pa.string()),
        ("holdout", pa.bool_()),
        ("prompt_hash", pa.string()),
        ("prompt_token_ids", TOKENS),
    ]
)


class Rationales:
    """A snapshot's rationales, read beside its answers: both come in the order of the answers' ids."""

    def __init__(self, pairs: Iterator[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._next = next(pairs, None)

    def of(self, answers: list[str]) -> list[str]:
        """The rationale of each of the next answers; "" where there is none."""
        said: dict[str, str] = {}
        while self._next is not None and answers and int(self._next[0]) <= int(answers[-1]):
            said[self._next[0]] = self._next[1]
            self._next = next(self._pairs, None)
        return [said.get(answer, "") for answer in answers]


class Layout(NamedTuple):
    """One form of export: its columns, what it reads of a snapshot, how it makes rows, and what it cannot take."""

    schema: pa.Schema
    columns: list[str]
    rows: Callable[[pa.RecordBatch, Rationales, Counter[str]], pa.RecordBatch]
    why_not: dict[str, str]
    """Why answers with this verdict have no row."""


def preference_rows(batch: pa.RecordBatch, rationales: Rationales, left_out: Counter[str]) -> pa.RecordBatch:
    """One row per answer that prefers a response: `chosen` and `rejected` are one assistant turn each."""
    decided = pc.equal(batch["verdict"], "preferred")
    left_out.update(batch["verdict"].filter(pc.invert(decided)).to_pylist())
    batch = batch.filter(decided)
    a_won = pc.equal(batch["preferred"], "a")
    made = {
        "chosen": _turns(pc.if_else(a_won, batch["response_a"], batch["response_b"])),
        "rejected": _turns(pc.if_else(a_won, batch["response_b"], batch["response_a"])),
        "checkpoint_chosen": pc.if_else(a_won, batch["checkpoint_a"], batch["checkpoint_b"]).fill_null(""),
        "checkpoint_rejected": pc.if_else(a_won, batch["checkpoint_b"], batch["checkpoint_a"]).fill_null(""),
        "annotator": batch["annotator"].fill_null(""),
        "guideline_version": batch["guideline_version"].fill_null(0),
    }
    return _batch(PREFERENCE, batch, made)


def raw_rows(batch: pa.RecordBatch, rationales: Rationales, left_out: Counter[str]) -> pa.RecordBatch:
    """One row per answer; `shown_left` and `preferred` are ids of one of the two `responses`, as in the API."""
    sides = [
        pa.StructArray.from_arrays(
            [
                batch[f"response_{side}_id"],
                batch[f"response_{side}"],
                batch[f"checkpoint_{side}"],
                batch[f"finish_{side}"],
                batch[f"tokens_{side}"],
            ],
            fields=list(RESPONSE),
        )
        for side in "ab"
    ]
    made = {
        "responses": _pairs(*sides),
        "shown_left": _id_of(batch["shown_left"], batch),
        "preferred": _id_of(batch["preferred"], batch),
        "checkpoints": _pairs(batch["checkpoint_a"], batch["checkpoint_b"]),
        "rationale": pa.array(rationales.of(batch["answer"].to_pylist()), pa.string()),
    }
    return _batch(RAW, batch, made)


LAYOUTS = {
    "preference": Layout(
        PREFERENCE,
        [name for name in SCHEMA.names if name in PREFERENCE.names]
        + ["verdict", "preferred", "response_a", "response_b", "checkpoint_a", "checkpoint_b"],
        preference_rows,
        {
            "tie": "These say that both responses are about the same.",
            "both_bad": "These say that both responses are bad.",
            "skipped": "These were skipped.",
            "cannot_judge": "The annotator could not judge these.",
        },
    ),
    "raw": Layout(RAW, SCHEMA.names, raw_rows, {}),
}


def _batch(schema: pa.Schema, batch: pa.RecordBatch, made: dict[str, pa.Array]) -> pa.RecordBatch:
    arrays = [made[item.name] if item.name in made else batch[item.name] for item in schema]
    return pa.record_batch([array.cast(item.type) for array, item in zip(arrays, schema, strict=True)], schema=schema)


def _id_of(side: pa.Array, batch: pa.RecordBatch) -> pa.Array:
    """The id of the response on a side, "a" or "b"; null where there is no side."""
    return pc.if_else(pc.equal(side, "a"), batch["response_a_id"], batch["response_b_id"])


def _turns(texts: pa.Array) -> pa.Array:
    """Each text as a conversation of one assistant turn."""
    role = pa.repeat("assistant", len(texts))
    turns = pa.StructArray.from_arrays([role, texts], fields=list(MESSAGES.value_type))
    return pa.ListArray.from_arrays(pa.array(range(len(texts) + 1), pa.int32()), turns)


def _pairs(a: pa.Array, b: pa.Array) -> pa.Array:
    """Two columns as one of two-element lists, a first."""
    both = pa.concat_arrays([a, b])
    n = len(a)
    order = pa.array([index for row in range(n) for index in (row, n + row)], pa.int64())
    return pa.ListArray.from_arrays(pa.array(range(0, 2 * n + 1, 2), pa.int32()), both.take(order))
