"""From a snapshot's table to unique responses, compared pairs and what people said about each."""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from workers import artifacts
from workers.language.errors import ContextExceeded, ConversationRefused
from workers.reward.loss import Floats, Integers, Outcomes, interval

Row = tuple[list[int], list[int]]


class Codec(NamedTuple):
    """What is needed of the base model's tokenizer."""

    encode: Callable[[list[dict[str, str]], str], Row]
    """Messages and the text of a response to prompt ids and response ids, the end token included."""
    decode: Callable[[list[int]], str]
    """Response ids to text, without special tokens."""
    eos: int


FEWEST = 8
MOST_LEVELS = 3


class Answers(NamedTuple):
    """Answers that say something about two responses, one entry each; N answers."""

    pair: Integers
    """Which compared pair, [N]."""
    sign: Integers
    """1 where the pair's first response was preferred, -1 for the second, 0 for a tie or both bad, [N]."""
    strength: list[int | None]
    """1 to 3 where a strength was given, [N]."""
    annotator: list[str | None]
    comparison: list[str]
    again: np.ndarray
    """Whether it was asked for because an earlier answer had surprised a reward model, bool [N]."""
    simulated: np.ndarray
    """Whether no person gave it, bool [N]."""
    weight: Floats
    """How much it counts in training, [N]; several answers to one pair are votes for its outcomes."""
    latest: np.ndarray
    """Whether the policy that came into the table last gave one of the two responses, bool [N]."""


class Preferences(NamedTuple):
    """What a snapshot says: R unique responses, P compared pairs, and the answers about them."""

    rows: list[Row]
    """Prompt ids and response ids of every unique response, [R]."""
    first: Integers
    """Each pair's first response, as an index into `rows`, [P]."""
    second: Integers
    prompt: Integers
    """Which prompt each pair is about, [P], numbered in the order of the prompts' hashes."""
    holdout: np.ndarray
    """Whether that prompt is never trained on, bool [P]."""
    answers: Answers
    levels: int
    """How many thresholds the answers can teach: the highest strength that was given."""

    def outcomes(self, chosen: np.ndarray) -> Outcomes:
        """Return the answers where `chosen` (bool [N]) as intervals between cut points."""
        answers = self.answers
        index = np.flatnonzero(chosen)
        bounds = [interval(int(answers.sign[i]), answers.strength[i], self.levels) for i in index]
        low, high = np.array(bounds, dtype=np.int64).reshape(-1, 2).T
        return Outcomes(answers.pair[index], low, high, answers.weight[index])

    def weighed(self, weights: Mapping[str, float]) -> Self:
        """Return the same with each annotator's answers at their weight; the answers of all others keep theirs."""
        answers = self.answers
        factor = np.array([1.0 if who is None else weights.get(who, 1.0) for who in answers.annotator])
        return self._replace(answers=answers._replace(weight=answers.weight * factor))

    def lengths(self) -> Floats:
        """Return how many tokens longer each pair's first response is than its second, [P]."""
        length = np.array([len(response) for _, response in self.rows], dtype=np.float64)
        return length[self.first] - length[self.second]


def read_table(url: str, sha256: str) -> list[dict[str, Any]]:
    """Return the rows of the snapshot at `url`, its hash checked; those about chats that were erased are left out."""
    manifest = artifacts.read_manifest(url, sha256)
    table = _read_rows(url, "answers.parquet", manifest["files"]["answers.parquet"]["sha256"])
    if "chats.parquet" not in manifest["files"]:
        return table
    # What was said in chats lies apart; where somebody was erased, the card says what the file's hash is since then.
    expected = manifest["files"]["chats.parquet"]["sha256"]
    for erasure in json.loads(artifacts.read_file(f"{url.rstrip('/')}/card.json")).get("erasures", ()):
        expected = erasure["files"].get("chats.parquet", {"sha256": expected})["sha256"]
    said = {row["answer"]: row for row in _read_rows(url, "chats.parquet", expected)}
    return [row | said.get(row["answer"], {}) for row in table if row["source"] != "chat" or row["answer"] in said]


def _read_rows(url: str, name: str, sha256: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as parquet

    data = artifacts.read_file(f"{url.rstrip('/')}/{name}", sha256)
    rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(data)).to_pylist()
    return rows


def from_table(table: list[dict[str, Any]], codec: Codec, max_tokens: int) -> Preferences:
    """Make preferences from the rows of a snapshot's table.

    Every response appears once, however often it was compared, and so does every pair, whichever way round it was
    stored. Stored token ids are used as they are; text that nobody sampled here is encoded. An empty response gets the
    end token, so that it has something to pool. Rows longer than `max_tokens` lose the beginning of their prompt and,
    if that is not enough, the end of the response. Prompts that the model cannot read at all are left out. Raises
    ValueError with a sentence if too little is left to learn from.
    """
    said = [record for record in table if record["verdict"] in ("preferred", "tie", "both_bad")]
    number = {one: index for index, one in enumerate(sorted({record["prompt_hash"] for record in said}))}
    rows: list[Row] = []
    seen: dict[str, int] = {}
    pairs: dict[tuple[int, int], int] = {}
    about: list[tuple[int, bool]] = []
    found: list[tuple[int, int, int | None]] = []
    taken: list[dict[str, Any]] = []
    for record in said:
        try:
            a, b = (_response(record, side, rows, seen, codec, max_tokens) for side in "ab")
        except (ContextExceeded, ConversationRefused):
            continue
        low, high = min(a, b), max(a, b)
        if (low, high) not in pairs:
            pairs[low, high] = len(pairs)
            about.append((number[record["prompt_hash"]], bool(record["holdout"])))
        sign = 0 if record["verdict"] != "preferred" else 1 if record["preferred"] == "a" else -1
        strength = None if record["strength"] is None or not sign else int(record["strength"])
        found.append((pairs[low, high], sign if a == low else -sign, strength))
        taken.append(record)
    decisive = sum(
        sign != 0 and record["purpose"] != "repeat" for (_, sign, _), record in zip(found, taken, strict=True)
    )
    if decisive < FEWEST:
        raise ValueError(
            f"The snapshot holds {decisive} answers that prefer one of two responses; a reward model needs at least "
            f"{FEWEST}. Label more and start the run again."
        )
    pair, signs, strengths = zip(*found, strict=True)
    answers = Answers(
        np.array(pair, np.int64),
        np.array(signs, np.int64),
        list(strengths),
        [record["annotator"] for record in taken],
        [record["comparison"] for record in taken],
        np.array([record["purpose"] == "repeat" for record in taken], np.bool_),
        np.array([record["simulated"] for record in taken], np.bool_),
        np.ones(len(taken)),
        _latest(taken),
    )
    return Preferences(
        rows,
        np.array([low for low, _ in pairs], np.int64),
        np.array([high for _, high in pairs], np.int64),
        np.array([prompt for prompt, _ in about], np.int64),
        np.array([holdout for _, holdout in about], np.bool_),
        answers,
        min(MOST_LEVELS, max((one for one in strengths if one is not None), default=1)),
    )


def folds(prompt: Integers, count: int) -> Integers:
    """Return the fold [P] of every pair, all pairs of a prompt in one, the prompts spread evenly.

    Raises ValueError if all pairs are about one prompt, because then nothing can be predicted for another.
    """
    unique, inverse = np.unique(prompt, return_inverse=True)
    if len(unique) < 2:
        raise ValueError("All the answers are about one prompt. Label pairs for more prompts and start the run again.")
    return np.asarray(inverse % min(count, len(unique)), dtype=np.int64)


def _latest(table: list[dict[str, Any]]) -> np.ndarray:
    named = [[record.get(f"checkpoint_{side}") for side in "ab"] for record in table]
    # The table is in the order of the answers, and a policy's first one comes after all those before its promotion.
    latest = next(reversed(dict.fromkeys(one for both in named for one in both if one is not None)), None)
    return np.array([latest is not None and latest in both for both in named], np.bool_)


def prompts_of(table: list[dict[str, Any]]) -> list[tuple[list[dict[str, str]], bool]]:
    """Return a snapshot's different prompts and whether each is held out, in the order of their hashes."""
    found = {record["prompt_hash"]: (record["prompt"], bool(record["holdout"])) for record in table}
    return [found[one] for one in sorted(found)]


def _response(record: dict[str, Any], side: str, rows: list[Row], seen: dict[str, int], codec: Codec, most: int) -> int:
    """Return the index of one side's response in `rows`, after adding it there if it is new."""
    tokens, prompt = record[f"tokens_{side}"], record["prompt_token_ids"]
    text = record[f"response_{side}"]
    known = (
        record[f"response_{side}_id"] or hashlib.sha256(json.dumps([record["prompt_hash"], text]).encode()).hexdigest()
    )
    if known in seen:
        return seen[known]
    # Ids that do not spell the text were sampled by another base model, which the project used to have.
    if tokens is None or prompt is None or codec.decode(tokens).strip() != text.strip():
        prompt, tokens = codec.encode(record["prompt"], text)
    response = (list(tokens) or [codec.eos])[: most - 1]
    prompt = list(prompt)[-(most - len(response)) :]
    seen[known] = len(rows)
    rows.append((prompt, response))
    return seen[known]
