"""The layout `raw`: one row per answer, with everything that is known about it."""

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.answer_table import MESSAGES, TOKENS
from app.datasets.columns import Beside, record, side_by_side

RESPONSE = pa.struct(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("checkpoint", pa.string()),
        ("finish_reason", pa.string()),
        ("token_ids", TOKENS),
    ]
)
SCHEMA = pa.schema(
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


def rows(batch: pa.RecordBatch, beside: Beside) -> pa.RecordBatch:
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
        "responses": side_by_side(*sides),
        "shown_left": _id_of(batch["shown_left"], batch),
        "preferred": _id_of(batch["preferred"], batch),
        "checkpoints": side_by_side(batch["checkpoint_a"], batch["checkpoint_b"]),
        "rationale": pa.array(beside.rationales.of(batch["answer"].to_pylist()), pa.string()),
    }
    return record(SCHEMA, batch, made)


def _id_of(side: pa.Array, batch: pa.RecordBatch) -> pa.Array:
    """The id of the response on a side, "a" or "b"; null where there is no side."""
    return pc.if_else(pc.equal(side, "a"), batch["response_a_id"], batch["response_b_id"])
