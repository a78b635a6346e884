"""Snapshots for the trainer's tests, written as app/datasets writes them, from a few lines per answer."""

import hashlib
import io
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from workers import artifacts

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("answer", "comparison", "prompt_id")],
        ("prompt", MESSAGES),
        ("prompt_hash", pa.string()),
        ("holdout", pa.bool_()),
        *[(name, pa.string()) for name in ("response_a", "response_b", "response_a_id", "response_b_id")],
        *[(name, pa.list_(pa.int32())) for name in ("prompt_token_ids", "tokens_a", "tokens_b")],
        *[(name, pa.string()) for name in ("finish_a", "finish_b", "verdict", "preferred")],
        ("strength", pa.int8()),
        ("skip_reason", pa.string()),
        ("flags", pa.list_(pa.string())),
        ("criteria", pa.string()),
        ("annotator", pa.string()),
        ("seconds", pa.float64()),
        ("created", pa.timestamp("us", "UTC")),
        ("guideline_version", pa.int32()),
        *[(name, pa.string()) for name in ("checkpoint_a", "checkpoint_b", "source")],
        ("simulated", pa.bool_()),
        *[(name, pa.string()) for name in ("purpose", "shown_left")],
        ("revision", pa.int32()),
    ]
)


def answer(prompt: str, a: str, b: str, verdict: str = "preferred", **fields: Any) -> dict[str, Any]:
    """One row of a snapshot: `a` preferred with no strength, on text that nobody sampled, unless `fields` say more."""
    prompt_hash = hashlib.sha256(prompt.encode()).hexdigest()
    return {
        **dict.fromkeys(SCHEMA.names),
        "answer": "1",
        "comparison": f"{prompt}/{a}/{b}",
        "prompt_id": prompt_hash[:8],
        "prompt_hash": prompt_hash,
        "prompt": [{"role": "user", "content": prompt}],
        "holdout": int(prompt_hash[:8], 16) % 10 == 0,
        "response_a": a,
        "response_b": b,
        "response_a_id": f"{prompt}/{a}",
        "response_b_id": f"{prompt}/{b}",
        "verdict": verdict,
        "preferred": "a" if verdict == "preferred" else None,
        "annotator": "alice",
        "flags": [],
        "criteria": "{}",
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "source": "sample",
        "simulated": False,
        "purpose": "train",
        "shown_left": "a",
        "revision": 1,
        **fields,
    }


def write(url: str, rows: list[dict[str, Any]]) -> str:
    """Write a snapshot directory and return its hash."""
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), buffer, compression="zstd")
    return artifacts.write(url, "snapshot", "tiny", {"answers.parquet": buffer.getvalue()})
