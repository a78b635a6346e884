"""Columns that several layouts make in the same way."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.answer_table import MESSAGES


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


class Beside(NamedTuple):
    """What a layout has beside the batches: rationales to read, and answers by verdict that it leaves out to count."""

    rationales: Rationales
    left_out: Counter[str]


Rows = Callable[[Iterator[pa.RecordBatch], Beside], Iterator[pa.RecordBatch]]


VOTES = [pa.field("votes", pa.int32()), pa.field("share", pa.float64())]
"""In rows per comparison: its decided answers, and the share of them that say what the row says (a tie is half one)."""


def record(schema: pa.Schema, batch: pa.RecordBatch, made: dict[str, pa.Array]) -> pa.RecordBatch:
    """A batch of this schema: what was `made`, and the rest as it was; votes stay where they were counted."""
    if VOTES[0].name in batch.schema.names:
        schema = pa.schema([*schema, *VOTES])
    arrays = [made[item.name] if item.name in made else batch[item.name] for item in schema]
    return pa.record_batch([array.cast(item.type) for array, item in zip(arrays, schema, strict=True)], schema=schema)


def turns(texts: pa.Array) -> pa.Array:
    """Each text as a conversation of one assistant turn."""
    role = pa.repeat("assistant", len(texts))
    said = pa.StructArray.from_arrays([role, texts], fields=list(MESSAGES.value_type))
    return pa.ListArray.from_arrays(pa.array(range(len(texts) + 1), pa.int32()), said)


def with_turn(conversations: pa.Array, texts: pa.Array) -> pa.Array:
    """Each conversation with one more turn of the assistant at its end."""
    lengths = pc.list_value_length(conversations).to_numpy()
    ends = lengths.cumsum()
    said, answered = conversations.flatten(), turns(texts).flatten()
    order = [place for row, end in enumerate(ends) for place in (*range(end - lengths[row], end), len(said) + row)]
    both = pa.concat_arrays([said, answered]).take(pa.array(order, pa.int64()))
    offsets = pa.array([0, *(int(end) + row + 1 for row, end in enumerate(ends))], pa.int32())
    return pa.ListArray.from_arrays(offsets, both)


def joined(conversations: pa.Array, before: dict[str, str], between: str) -> pa.Array:
    """Each conversation as one text: its turns with what stands before a turn of that role, and between turns."""
    said = conversations.flatten()
    prefix = pa.repeat("", len(said))
    for role, words in before.items():
        prefix = pc.if_else(pc.equal(said.field("role"), role), words, prefix)
    texts = pc.binary_join_element_wise(prefix, said.field("content"), "")
    ends = pc.list_value_length(conversations).to_numpy().cumsum()
    return pc.binary_join(pa.ListArray.from_arrays(pa.array([0, *ends.tolist()], pa.int32()), texts), between)


def side_by_side(a: pa.Array, b: pa.Array) -> pa.Array:
    """Two columns as one of two-element lists, a first."""
    n = len(a)
    both = pa.concat_arrays([a, b]).take(alternating(n))
    return pa.ListArray.from_arrays(pa.array(range(0, 2 * n + 1, 2), pa.int32()), both)


def alternating(n: int) -> pa.Array:
    """0, n, 1, n + 1, …: where two columns of n, one after the other, have their rows by turns."""
    return pa.array([index for row in range(n) for index in (row, n + row)], pa.int64())
