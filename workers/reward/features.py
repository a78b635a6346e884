"""What the base model makes of a response, pooled as the instant head reads it: named, and small enough to be stored.

Stored beside the response, these let a process without torch fit the instant head and use it (workers/live_head).
"""

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from app.runs.hyper import RewardHyper
from workers.language import adapters
from workers.language.errors import ContextExceeded, ConversationRefused
from workers.language.logprobs import Row
from workers.language.model import LanguageModel
from workers.language.tokens import decode, encode_prompt, encode_response
from workers.reward.frozen import read_states
from workers.reward.model import POOLS, pooled_layer

PORTION = 256
"""Tokens that are read at once, so that whoever waits for the model waits no longer than for a slice of a prompt."""
LARGEST = 65504.0
"""The largest number in half precision; the sum over a long response may go beyond it."""


def name_of(lm: LanguageModel) -> str:
    """Say what made the features, such as "tiny layer 1 mean+sum+last+words"; other features have another name."""
    hyper = RewardHyper.preset(lm.name)
    return f"{lm.name} layer {pooled_layer(lm, hyper.depth)} {'+'.join(POOLS[hyper.pooling])}"


def read(lm: LanguageModel, rows: Sequence[Row]) -> list[str]:
    """Return each row's features by the base model: float16 numbers, little-endian, in base64."""
    hyper = RewardHyper.preset(lm.name)
    with adapters.using(lm, None):
        layer = pooled_layer(lm, hyper.depth)
        states = read_states(lm, rows, layer, POOLS[hyper.pooling], None, lambda done, total: None)
    pooled = states.pooled.clamp(-LARGEST, LARGEST).half().cpu().numpy().astype("<f2")
    return [base64.b64encode(row.tobytes()).decode() for row in pooled]


def portions(rows: Sequence[Row]) -> Iterator[list[int]]:
    """Return the rows' indices in groups of at most PORTION tokens, padding included, at least one row in each."""
    lengths = [len(prompt) + len(response) for prompt, response in rows]
    group: list[int] = []
    for index in sorted(range(len(rows)), key=lambda index: lengths[index]):
        if group and lengths[index] * (len(group) + 1) > PORTION:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def row_of(
    lm: LanguageModel,
    messages: Sequence[dict[str, Any]],
    response: str,
    prompt_token_ids: list[int] | None = None,
    token_ids: list[int] | None = None,
) -> Row | None:
    """Return a response as the reward model's training reads it, or None where the model cannot read its prompt.

    Token ids are used where they spell the text (else another base model sampled them), and what is too long loses
    the beginning of its prompt first.
    """
    prompt, said = prompt_token_ids, token_ids
    try:
        if prompt is None or not said or decode(lm, said).strip() != response.strip():
            prompt, said = encode_prompt(lm, list(messages)), encode_response(lm, response)
    except (ContextExceeded, ConversationRefused):
        return None
    return cut(lm, prompt, said)


def cut(lm: LanguageModel, prompt: list[int], response: list[int]) -> Row:
    """Return a row that is no longer than what training reads."""
    most = min(RewardHyper.preset(lm.name).max_tokens, lm.context)
    response = response[: most - 1]
    return prompt[-(most - len(response)) :], response
