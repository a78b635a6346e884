"""The prompts that come with Pairloop can be brought in as they are, and none twice."""

import json
from collections import Counter
from pathlib import Path

import pytest

from app.labeling.comparisons import is_holdout, prompt_hash
from app.messages import check_messages

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.mark.parametrize(("name", "at_least"), [("prompts.jsonl", 160), ("prompts_larger_models.jsonl", 60)])
def test_every_line_is_a_prompt_with_tags(name: str, at_least: int) -> None:
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) >= at_least
    hashes = Counter()
    for line in lines:
        prompt = json.loads(line)
        assert set(prompt) == {"prompt", "tags"}
        assert prompt["tags"]
        hashes[prompt_hash(check_messages([{"role": "user", "content": prompt["prompt"]}]))] += 1
    assert max(hashes.values()) == 1, "no prompt twice"
    if name == "prompts.jsonl":
        held_out = sum(map(is_holdout, hashes))
        assert held_out >= 10, "enough held-out prompts for a reward model's accuracy to mean something"


def test_the_first_prompts_are_of_every_kind_and_mixed() -> None:
    tags = [json.loads(line)["tags"][0] for line in (DATA / "prompts.jsonl").read_text().splitlines()]
    kinds = {"explain", "describe", "advise", "small talk", "story", "list"}
    assert kinds <= set(tags)
    assert kinds <= set(tags[:20]), "somebody who labels twenty pairs meets them all"
