"""What the rows of an exported file look like: from a snapshot's batches to the batches of a layout."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa

from app.datasets import pairs, rankings, raw
from app.datasets.answer_table import SCHEMA
from app.datasets.columns import Beside, Rows
from app.languages import N_

WHY_NOT = {
    "preferred": N_("These prefer one response."),
    "tie": N_("These say that both responses are about the same."),
    "both_bad": N_("These say that both responses are bad."),
    "skipped": N_("These were skipped."),
    "cannot_judge": N_("The annotator could not judge these."),
}
"""Why answers with this verdict have no row, where they have none."""


class Layout(NamedTuple):
    """One form of export: for whom, its columns, what it reads of a snapshot, and how it makes rows."""

    name: str
    says: str
    schema: pa.Schema
    columns: list[str]
    rows: Rows
    gives: dict[str, int]
    """Rows per answer with this verdict; answers with others are left out."""
    per_prompt: bool = False
    """One row per prompt that has such answers instead."""
    votes: bool = True
    """Whether it can also be had with one row per comparison."""

    @property
    def why_not(self) -> dict[str, str]:
        return {verdict: why for verdict, why in WHY_NOT.items() if verdict not in self.gives}


def _pair(name: str, says: str, schema: pa.Schema, make: pairs.Make, gives: dict[str, int] | None = None) -> Layout:
    return Layout(name, says, schema, pairs.COLUMNS, _batch_by_batch(make), gives or {"preferred": 1})


def _batch_by_batch(make: Callable[[pa.RecordBatch, Beside], pa.RecordBatch]) -> Rows:
    def rows(batches: Iterator[pa.RecordBatch], beside: Beside) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield make(batch, beside)

    return rows


LAYOUTS = {
    "preference": _pair(
        N_("Preference"),
        N_("Prompt, chosen and rejected as conversations. What TRL’s RewardTrainer and DPOTrainer read."),
        pairs.PREFERENCE,
        pairs.preference,
    ),
    "margin": _pair(
        N_("Preference with margin"),
        N_("The same, with how much better the chosen one is as a number, for a reward model that heeds it."),
        pairs.MARGIN,
        pairs.margin,
    ),
    "standard": _pair(
        N_("Preference as plain text"),
        N_("Prompt, chosen and rejected as text, for trainers that know no conversations."),
        pairs.STANDARD,
        pairs.standard,
    ),
    "hh": _pair(
        N_("HH-RLHF transcripts"),
        N_("Two whole dialogues, Human and Assistant by turns, as in Anthropic’s HH-RLHF."),
        pairs.STANDARD_IMPLICIT,
        pairs.transcripts,
    ),
    "kto": _pair(
        N_("KTO"),
        N_("One row per response: good where it was chosen, bad where it was rejected or both were. For KTOTrainer."),
        pairs.KTO,
        pairs.unpaired,
        {"preferred": 2, "both_bad": 2},
    ),
    "sft": _pair(
        N_("Chat"),
        N_("Each conversation with the chosen response at its end. For SFTTrainer."),
        pairs.SFT,
        pairs.conversations,
    ),
    "ranking": Layout(
        N_("Ranking"),
        N_("One row per prompt: all its responses, best first, with a Bradley-Terry score."),
        rankings.SCHEMA,
        rankings.COLUMNS,
        rankings.rows,
        {"preferred": 1, "tie": 1},
        per_prompt=True,
        votes=False,
    ),
    "prompts": Layout(
        N_("Prompts alone"),
        N_("Every prompt that was answered about, once. For PPO and other trainers that write their own responses."),
        rankings.PROMPTS,
        rankings.PROMPTS.names,
        rankings.prompts,
        dict.fromkeys(WHY_NOT, 1),
        per_prompt=True,
        votes=False,
    ),
    "raw": Layout(
        N_("Raw"),
        N_("One row per answer with everything that is known about it, ties and skips included."),
        raw.SCHEMA,
        SCHEMA.names,
        _batch_by_batch(raw.rows),
        dict.fromkeys(WHY_NOT, 1),
        votes=False,
    ),
}
