"""What the trainer's tests share: specs on `tiny`, and people with a rule that a small model can learn."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.workers.reward import snapshots
from workers import artifacts
from workers.context import IterationSpec
from workers.language.decode import generate
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.language.tokens import decode, encode_prompt

PROMPTS = [f"Say something about number {number}" for number in range(60)]


def spec(home: Path, kind: str, **fields: Any) -> IterationSpec:
    """A spec on `tiny` whose files lie below `home`; `hyper` and other fields by name."""
    given = {
        "run": "17",
        "kind": kind,
        "base_model": "tiny",
        "seed": 1,
        "snapshot": None,
        "prompts": None,
        "parents": {"reward": None, "policy": None},
        "candidate": None,
        "hyper": {},
        "work": (home / "work").as_uri() + "/",
        "output": (home / "checkpoint").as_uri() + "/",
        **fields,
    }
    return IterationSpec.from_json(json.dumps(given))


def prompts(home: Path, count: int = 24) -> dict[str, str]:
    """Write prompts.jsonl and return its reference."""
    lines = [
        json.dumps({"id": str(i), "messages": [{"role": "user", "content": text}], "holdout": i % 10 == 0})
        for i, text in enumerate(PROMPTS[:count])
    ]
    url = (home / "prompts.jsonl").as_uri()
    return {"url": url, "sha256": artifacts.write_file(url, ("\n".join(lines) + "\n").encode())}


def liking(text: str) -> int:
    """How many vowels: what these people like."""
    return sum(text.count(vowel) for vowel in "aeiou")


def snapshot(home: Path, lm: LanguageModel, count: int = 60, flip: int = 0) -> dict[str, str]:
    """Write a snapshot about sampled pairs in which people like the answer with more vowels."""
    return write(home, answered(lm, count, flip))


def answered(
    lm: LanguageModel,
    count: int,
    flip: int = 0,
    rule: Callable[[str], float] = liking,
    tie: float = 1,
    seed: int = 1000,
    adapter: str | None = None,
    tokens: int = 24,
) -> list[dict[str, Any]]:
    """Sample pairs, with an adapter if one is named, and let people answer by the rule.

    Every `flip`-th answer is turned round; a difference of at most `tie` is a tie; `tokens` is how long they may get.
    """
    settings = Settings(temperature=1.0, top_p=0.95, max_tokens=tokens)
    ids = [encode_prompt(lm, [{"role": "user", "content": text}]) for text in PROMPTS]
    asked = [ids[i % len(ids)] for i in range(count)]
    rows = []
    for number, (a, b) in enumerate(generate(lm, asked, 2, settings, seed, adapter)):
        texts = decode(lm, a.token_ids), decode(lm, b.token_ids)
        lead = rule(texts[0]) - rule(texts[1])
        better = "a" if (lead > 0) != bool(flip and number % flip == 0) else "b"
        fields = {"verdict": "tie"} if abs(lead) <= tie else {"preferred": better, "strength": 1 + (abs(lead) > 3)}
        row = snapshots.answer(PROMPTS[number % len(ids)], *texts, **fields)
        row |= {"response_a_id": f"{seed}-{number}a", "response_b_id": f"{seed}-{number}b"}
        row |= {"checkpoint_a": adapter, "checkpoint_b": adapter}
        row |= {"prompt_token_ids": a.prompt_ids, "tokens_a": a.token_ids, "tokens_b": b.token_ids}
        rows.append({**row, "preferred": fields.get("preferred")})
    return rows


def write(home: Path, rows: list[dict[str, Any]]) -> dict[str, str]:
    """Write the rows as a snapshot below `home` and return its reference."""
    url = (home / "snapshot").as_uri()
    return {"url": url, "sha256": snapshots.write(url, rows)}
