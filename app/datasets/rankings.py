"""Layouts with one row per prompt: its responses in their order, and prompts alone."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.datasets.answer_table import MESSAGES, ROWS
from app.datasets.columns import Beside

RANKED = pa.struct([("id", pa.string()), ("text", pa.string()), ("checkpoint", pa.string()), ("score", pa.float64())])
SCHEMA = pa.schema(
    [
        ("prompt", MESSAGES),
        ("responses", pa.list_(RANKED)),
        ("votes", pa.int32()),
        ("prompt_id", pa.string()),
        ("prompt_hash", pa.string()),
        ("holdout", pa.bool_()),
    ]
)
PROMPTS = pa.schema(
    [("prompt", MESSAGES), ("prompt_id", pa.string()), ("prompt_hash", pa.string()), ("holdout", pa.bool_())]
)
_SIDES = [f"{name}_{side}" for side in "ab" for name in ("response", "checkpoint")]
COLUMNS = [*PROMPTS.names, *_SIDES, "response_a_id", "response_b_id", "verdict", "preferred"]
PRIOR = 0.5
"""Wins and losses of every response against one of average strength, so that who never lost has a score too."""
ROUNDS = 100


class _Texts:
    """Texts in a temporary file: nothing can be written before the last vote is read, and all of them may be much."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def put(self, text: str) -> tuple[int, int]:
        """Keep a text, and return where it is."""
        return self._file.tell(), self._file.write(text.encode())

    def get(self, place: tuple[int, int]) -> str:
        self._file.seek(place[0])
        return self._file.read(place[1]).decode()


class _Prompt:
    """What is known about one prompt while the votes are read: where its texts are, and who won how often."""

    def __init__(self, row: dict[str, Any], texts: _Texts) -> None:
        self.facts = {name: row[name] for name in ("prompt_id", "prompt_hash", "holdout")}
        self.place = texts.put(json.dumps(row["prompt"]))
        self.responses: dict[str, tuple[tuple[int, int], str]] = {}
        self.wins: defaultdict[tuple[str, str], float] = defaultdict(float)

    def add(self, row: dict[str, Any], texts: _Texts) -> None:
        for side in "ab":
            if row[f"response_{side}_id"] not in self.responses:
                place = texts.put(row[f"response_{side}"])
                self.responses[row[f"response_{side}_id"]] = place, row[f"checkpoint_{side}"] or ""
        a, b = row["response_a_id"], row["response_b_id"]
        won = {"a": 1.0, "b": 0.0, None: 0.5}[row["preferred"]]
        self.wins[a, b] += won
        self.wins[b, a] += 1 - won


def rows(batches: Iterator[pa.RecordBatch], beside: Beside) -> Iterator[pa.RecordBatch]:
    """One row per prompt with a decided answer: its responses, best first; a tie is half a win for each."""
    with tempfile.TemporaryFile() as file:
        texts, found = _Texts(file), dict[str, _Prompt]()
        for batch in batches:
            fits = pc.is_in(batch["verdict"], pa.array(["preferred", "tie"]))
            beside.left_out.update(batch["verdict"].filter(pc.invert(fits)).to_pylist())
            for row in batch.filter(fits).to_pylist():
                if row["prompt_id"] not in found:
                    found[row["prompt_id"]] = _Prompt(row, texts)
                found[row["prompt_id"]].add(row, texts)
        ranked = iter(found.values())
        while some := list(islice(ranked, ROWS)):
            yield pa.RecordBatch.from_pylist([_row(prompt, texts) for prompt in some], schema=SCHEMA)


def _row(prompt: _Prompt, texts: _Texts) -> dict[str, Any]:
    ids = list(prompt.responses)
    wins = np.array([[prompt.wins[one, other] for other in ids] for one in ids])
    responses = [
        {"id": id, "text": texts.get(place), "checkpoint": checkpoint, "score": score}
        for (id, (place, checkpoint)), score in zip(prompt.responses.items(), scores(wins), strict=True)
    ]
    responses.sort(key=lambda one: (-one["score"], int(one["id"])))
    votes = round(float(wins.sum()))
    return {"prompt": json.loads(texts.get(prompt.place)), "responses": responses, "votes": votes, **prompt.facts}


def scores(wins: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Bradley-Terry scores [N] from wins [N, N] (row over column): log strengths with mean 0.

    Hunter's (2004) iteration: s_i = W_i / sum_j n_ij / (s_i + s_j), where everybody also won and lost PRIOR times
    against an opponent of strength 1, so that who never lost stays finite and separate groups can be compared.
    """
    games = wins + wins.T
    strength = np.ones(len(wins))
    for _ in range(ROUNDS):
        met = (games / (strength[:, None] + strength[None, :])).sum(1) + 2 * PRIOR / (strength + 1)
        strength = (wins.sum(1) + PRIOR) / met
    score: np.ndarray[Any, Any] = np.log(strength)
    return np.asarray(score - score.mean())


def prompts(batches: Iterator[pa.RecordBatch], beside: Beside) -> Iterator[pa.RecordBatch]:
    """Every prompt once, where it first occurs."""
    seen: set[str] = set()
    for batch in batches:
        ids = batch["prompt_id"].to_pylist()
        new = []
        for id in ids:
            new.append(id not in seen)
            seen.add(id)
        yield batch.select(PROMPTS.names).filter(pa.array(new, pa.bool_()))
