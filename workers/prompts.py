"""The prompts of a training run, as token ids; which of them may be trained on and which only judge."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from workers import artifacts
from workers.context import Source
from workers.language.errors import ContextExceeded
from workers.language.model import LanguageModel
from workers.language.tokens import decode, encode_prompt, encode_response
from workers.reward.data import Codec

FEWEST_HELDOUT = 20
"""With fewer held-out prompts than this all prompts judge, because a handful says nothing."""


class Prompt(NamedTuple):
    """One prompt: its last message as text for people, its token ids, and whether it is never trained on."""

    text: str
    ids: list[int]
    holdout: bool


def read_prompts(lm: LanguageModel, source: Source) -> list[Prompt]:
    """Read prompts.jsonl: lines {"id", "messages", "holdout"}. Raises ValueError with a sentence for a broken line."""
    lines = artifacts.read_file(source.url, source.sha256).decode().splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            found.append((record["messages"], bool(record["holdout"])))
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"Line {number} of {source.url} is no prompt. Start the run again.") from None
    return encode_all(lm, found)


def encode_all(lm: LanguageModel, prompts: Iterable[tuple[Sequence[Mapping[str, str]], bool]]) -> list[Prompt]:
    """Encode (messages, holdout) pairs; prompts that fill the model's context are left out, with a line in the log.

    Raises ValueError if none is left.
    """
    found = []
    for messages, holdout in prompts:
        try:
            found.append(Prompt(messages[-1]["content"], encode_prompt(lm, [dict(one) for one in messages]), holdout))
        except ContextExceeded as error:
            sys.stderr.write(f"A prompt was left out. {error}\n")
    if not found:
        raise ValueError("The run has no prompt that fits the model's context. Bring shorter prompts in.")
    return found


def for_training(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts that are not held out, or all if every one of them is."""
    return [one for one in prompts if not one.holdout] or list(prompts)


def for_judging(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the held-out prompts, or all prompts if fewer than FEWEST_HELDOUT are held out."""
    heldout = [one for one in prompts if one.holdout]
    return heldout if len(heldout) >= FEWEST_HELDOUT else list(prompts)


def codec(lm: LanguageModel) -> Codec:
    """Return what the reward model's data needs of the tokenizer."""

    def encode(messages: list[dict[str, Any]], text: str) -> tuple[list[int], list[int]]:
        return encode_prompt(lm, messages), encode_response(lm, text)

    return Codec(encode, lambda ids: decode(lm, ids), lm.end)
