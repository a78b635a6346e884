"""Layouts for trainers: rows about a chosen and a rejected response.

No value is ever null (text "" and version 0 mean: none), because `datasets` guesses JSONL's types from its first 10 MB
and refuses a column that is null up to there and something later.
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.answer_table import MESSAGES, SCHEMA
from app.datasets.columns import Beside, alternating, joined, record, turns, with_turn

Make = Callable[[pa.RecordBatch, Beside], pa.RecordBatch]
ABOUT = [
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
]
STRENGTH = ("strength", pa.int8())
WRITERS = [("checkpoint_chosen", pa.string()), ("checkpoint_rejected", pa.string())]
CONVERSATIONS = [("prompt", MESSAGES), ("chosen", MESSAGES), ("rejected", MESSAGES)]
TEXTS = [("chosen", pa.string()), ("rejected", pa.string())]

PREFERENCE = pa.schema([*CONVERSATIONS, STRENGTH, *ABOUT, *WRITERS])
MARGIN = pa.schema([*CONVERSATIONS, ("margin", pa.float64()), STRENGTH, *ABOUT, *WRITERS])
STANDARD = pa.schema([("prompt", pa.string()), *TEXTS, STRENGTH, *ABOUT, *WRITERS])
STANDARD_IMPLICIT = pa.schema([*TEXTS, STRENGTH, *ABOUT, *WRITERS])
KTO = pa.schema(
    [("prompt", MESSAGES), ("completion", MESSAGES), ("label", pa.bool_()), *ABOUT, ("checkpoint", pa.string())]
)
SFT = pa.schema([("messages", MESSAGES), STRENGTH, *ABOUT, ("checkpoint", pa.string())])
COLUMNS = [
    name
    for name in SCHEMA.names
    if name in {*PREFERENCE.names, "verdict", "preferred", "response_a", "response_b", "checkpoint_a", "checkpoint_b"}
]

ROLES = {"user": "\n\nHuman: ", "assistant": "\n\nAssistant: "}
SPEAKERS = {"user": "User: ", "assistant": "Assistant: ", "system": "System: "}


def preference(batch: pa.RecordBatch, beside: Beside) -> pa.RecordBatch:
    """TRL's explicit-prompt conversational form: `chosen` and `rejected` are one assistant turn each."""
    return _preference(PREFERENCE, batch, beside)


def margin(batch: pa.RecordBatch, beside: Beside) -> pa.RecordBatch:
    """The same, and the strength as a number that the chosen reward shall be ahead by."""
    return _preference(MARGIN, batch, beside)


def standard(batch: pa.RecordBatch, beside: Beside) -> pa.RecordBatch:
    """Texts: a prompt of one turn is what was asked, a longer one names who speaks."""
    batch, chosen, rejected, made = _decided(batch, beside)
    alone = joined(batch["prompt"], {}, "\n\n")
    named = joined(batch["prompt"], SPEAKERS, "\n\n")
    prompt = pc.if_else(pc.equal(pc.list_value_length(batch["prompt"]), 1), alone, named)
    return record(STANDARD, batch, {**made, "prompt": prompt, "chosen": chosen, "rejected": rejected})


def transcripts(batch: pa.RecordBatch, beside: Beside) -> pa.RecordBatch:
    """HH-RLHF's form: the prompt is the beginning of both dialogues; what a system turn says stands before them."""
    batch, chosen, rejected, made = _decided(batch, beside)
    prompt = joined(batch["prompt"], ROLES, "")
    whole = {
        name: pc.binary_join_element_wise(prompt, ROLES["assistant"], text, "")
        for name, text in (("chosen", chosen), ("rejected", rejected))
    }
    return record(STANDARD_IMPLICIT, batch, {**made, **whole})


def conversations(batch: pa.RecordBatch, beside: Beside) -> pa.RecordBatch:
    """The prompt and, as its last turn, the chosen response."""
    batch, chosen, _, made = _decided(batch, beside)
    made |= {"messages": with_turn(batch["prompt"], chosen), "checkpoint": made["checkpoint_chosen"]}
    return record(SFT, batch, made)


def unpaired(batch: pa.RecordBatch, beside: Beside) -> pa.RecordBatch:
    """Two rows per answer, one per response: the chosen one is good, the rejected one bad, and so are two bad ones."""
    batch, chosen, rejected, made = _decided(batch, beside, ("preferred", "both_bad"))
    twice, n = alternating(batch.num_rows), batch.num_rows
    good = pc.equal(batch["verdict"], "preferred")
    rows = pa.concat_batches([batch, batch]).take(twice)
    each = {
        "completion": turns(pa.concat_arrays([chosen, rejected])),
        "label": pa.concat_arrays([good, pa.repeat(False, n)]),
        "checkpoint": pa.concat_arrays([made["checkpoint_chosen"], made["checkpoint_rejected"]]),
        **{name: pa.concat_arrays([made[name], made[name]]) for name in ("annotator", "guideline_version")},
    }
    return record(KTO, rows, {name: column.take(twice) for name, column in each.items()})


def _preference(schema: pa.Schema, batch: pa.RecordBatch, beside: Beside) -> pa.RecordBatch:
    batch, chosen, rejected, made = _decided(batch, beside)
    made |= {"chosen": turns(chosen), "rejected": turns(rejected), "margin": batch["strength"]}
    return record(schema, batch, made)


def _decided(
    batch: pa.RecordBatch, beside: Beside, verdicts: tuple[str, ...] = ("preferred",)
) -> tuple[pa.RecordBatch, pa.Array, pa.Array, dict[str, pa.Array]]:
    """The answers with these verdicts, the text of the chosen and of the other response, and columns about both."""
    fits = pc.is_in(batch["verdict"], pa.array(verdicts))
    beside.left_out.update(batch["verdict"].filter(pc.invert(fits)).to_pylist())
    batch = batch.filter(fits)
    a_won = pc.equal(batch["preferred"], "a").fill_null(True)
    sides = {name: (batch[f"{name}_a"], batch[f"{name}_b"]) for name in ("response", "checkpoint")}
    made = {
        "checkpoint_chosen": pc.if_else(a_won, *sides["checkpoint"]).fill_null(""),
        "checkpoint_rejected": pc.if_else(a_won, *sides["checkpoint"][::-1]).fill_null(""),
        "annotator": batch["annotator"].fill_null(""),
        "guideline_version": batch["guideline_version"].fill_null(0),
    }
    return batch, pc.if_else(a_won, *sides["response"]), pc.if_else(a_won, *sides["response"][::-1]), made
