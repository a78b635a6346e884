"""One row per comparison instead of one per answer: what most people said, and how many of them."""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.columns import VOTES, Beside, Rows
from app.languages import N_
from app.models import DECISIVE

EACH, COMPARISON = "answer", "comparison"
PER = (EACH, COMPARISON)
COLUMNS = ["answer", "comparison", "verdict", "preferred", "strength"]
DRAWN = "drawn"
WHY_DRAWN = N_("No side has more votes in their comparisons.")
KINDS = ("a", "b", "tie", "both_bad")


class Counted:
    """The votes of every comparison of a snapshot, by its id; some forty bytes each."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        table = pa.Table.from_batches(list(_decided(batches)), pa.schema(_VOTE))
        by = table.group_by("comparison").aggregate(
            [
                ("answer", "min"),
                *((f"is_{kind}", "sum") for kind in KINDS),
                ("strength_a", "sum"),
                ("strength_b", "sum"),
            ]
        )
        by = by.sort_by("answer_min")
        votes = np.stack([by[f"is_{kind}_sum"].to_numpy() for kind in KINDS], axis=1).reshape(-1, len(KINDS))
        most = votes.max(axis=1, initial=0)
        self.first = by["answer_min"].to_numpy()
        self.votes = votes.sum(axis=1)
        self.says = votes.argmax(axis=1)
        self.drawn = (votes == most[:, None]).sum(axis=1) > 1
        self.share = np.where(self.says < 2, most + votes[:, 2] / 2, most) / np.maximum(self.votes, 1)
        summed = np.where(self.says == 0, by["strength_a_sum"].to_numpy(), by["strength_b_sum"].to_numpy())
        self.strength = np.floor(summed / np.maximum(most, 1) + 0.5)


_VOTE = [
    ("answer", pa.int64()),
    ("comparison", pa.int64()),
    *((f"is_{kind}", pa.int64()) for kind in KINDS),
    ("strength_a", pa.int64()),
    ("strength_b", pa.int64()),
]


def _decided(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        says = pc.coalesce(batch["preferred"], batch["verdict"])
        is_one = {kind: pc.equal(says, kind) for kind in KINDS}
        strength = batch["strength"].cast(pa.int64()).fill_null(0)
        columns = {
            "answer": batch["answer"].cast(pa.int64()),
            "comparison": batch["comparison"].cast(pa.int64()),
            **{f"is_{kind}": found.cast(pa.int64()) for kind, found in is_one.items()},
            **{f"strength_{side}": pc.if_else(is_one[side], strength, 0) for side in "ab"},
        }
        fits = pc.is_in(says, pa.array(KINDS))
        yield pa.record_batch([columns[name] for name, _ in _VOTE], names=[name for name, _ in _VOTE]).filter(fits)


def per_comparison(make: Rows, counted: Counted, gives: Collection[str]) -> Rows:
    """The same layout with a row where a comparison's first decided answer is, which says what most of them say.

    `gives` are the verdicts that the layout has rows for.
    """

    def rows(batches: Iterator[pa.RecordBatch], beside: Beside) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            decided = pc.is_in(batch["verdict"], pa.array(DECISIVE))
            beside.left_out.update(batch["verdict"].filter(pc.invert(decided)).to_pylist())
            batch = batch.filter(decided)
            answers = batch["answer"].cast(pa.int64()).to_numpy()
            place = np.searchsorted(counted.first, answers, side="right") - 1
            first = counted.first[place] == answers
            drawn = counted.drawn[place]
            beside.left_out[DRAWN] += int(counted.votes[place][first & drawn].sum())
            said = _as_most_say(batch.filter(pa.array(first & ~drawn)), counted, place[first & ~drawn])
            for verdict, votes in zip(said["verdict"].to_pylist(), said["votes"].to_pylist(), strict=True):
                if verdict not in gives:
                    beside.left_out[verdict] += votes
            yield from make(iter([said]), Beside(beside.rationales, Counter()))

    return rows


def _as_most_say(batch: pa.RecordBatch, counted: Counted, place: Any) -> pa.RecordBatch:
    says = pa.array(np.array(KINDS)[counted.says[place]], pa.string())
    preferred = pc.is_in(says, pa.array(["a", "b"]))
    nobody = pa.nulls(batch.num_rows, pa.string())
    one = pa.array(counted.votes[place] == 1)
    made = {
        "verdict": pc.if_else(preferred, "preferred", says),
        "preferred": pc.if_else(preferred, says, nobody),
        "strength": pc.if_else(
            preferred, pa.array(counted.strength[place].astype(np.int8)), pa.scalar(None, pa.int8())
        ),
        "annotator": pc.if_else(one, batch["annotator"], nobody),
    }
    columns = [made.get(name, batch[name]) for name in batch.schema.names]
    more = [
        pa.array(counted.votes[place].astype(np.int32), pa.int32()),
        pa.array(counted.share[place].astype(np.float64), pa.float64()),
    ]
    return pa.record_batch([*columns, *more], names=[*batch.schema.names, *(field.name for field in VOTES)])
