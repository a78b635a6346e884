"""Sample responses token by token: a batch that can be advanced a step at a time, and `generate`, which runs it.

Prompts are read in slices, each distinct prompt once however many responses it gets; rows are padded on the left, with
an explicit mask and explicit positions; a finished row leaves the batch at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import torch
from torch import Tensor

from workers.language.adapters import using
from workers.language.cache import RowCache, spread
from workers.language.errors import ContextExceeded, Stopped
from workers.language.model import LanguageModel
from workers.language.sampling import Settings, sample

Finish = Literal["stop", "length"]
# A step never reads more than this many prompt tokens, so that other batches get their turn in between.
SLICE = 512


@dataclass(frozen=True)
class Request:
    """One response to be sampled."""

    prompt: Sequence[int]
    settings: Settings
    seed: int


@dataclass(frozen=True)
class Event:
    """One sampled token of the request with number `index`; `finish` is set with its last one."""

    index: int
    token: int
    logprob: float
    finish: Finish | None


@dataclass(frozen=True)
class Sampled:
    """One response. `token_ids` holds the end-of-turn token iff it was sampled (finish `stop`); `logprobs` are under
    the whole distribution at the temperature of its settings, one per token."""

    prompt_ids: list[int]
    token_ids: list[int]
    logprobs: list[float]
    finish: Finish


@dataclass
class _Group:
    """Prompts that are read together, padded on the left to one length."""

    prompts: list[tuple[int, ...]]
    cache: RowCache
    read: int = 0
    logits: Tensor | None = None

    @property
    def length(self) -> int:
        return max(len(prompt) for prompt in self.prompts)


@dataclass
class _Row:
    index: int
    request: Request
    stream: Random
    start: int = 0  # columns of padding before the prompt
    count: int = 0  # tokens sampled
    last: int = 0
    gone: bool = field(default=False)


class Batch:
    """Responses to `requests`, sampled together with the adapter named `adapter` (None: the base model)."""

    def __init__(self, lm: LanguageModel, requests: Sequence[Request], adapter: str | None = None) -> None:
        for request in requests:
            if len(request.prompt) > lm.context - 1:
                raise ContextExceeded(len(request.prompt), lm.context)
        self.lm = lm
        self.requests = list(requests)
        self.adapter = adapter
        self._rows = [_Row(index, request, Random(request.seed)) for index, request in enumerate(requests)]
        self._groups = [
            _Group(prompts, RowCache(lm.model.config.num_hidden_layers, len(prompts)))
            for prompts in _groups({tuple(request.prompt) for request in requests})
        ]
        self._cache: RowCache | None = None

    @property
    def rows(self) -> int:
        """How many responses are unfinished."""
        return sum(not row.gone for row in self._rows)

    def drop(self, index: int) -> None:
        """Sample no more tokens for the request with number `index`."""
        for row in self._rows:
            row.gone = row.gone or row.index == index

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Do one bounded piece of work: read a slice of prompts, or sample one token for every unfinished row."""
        if not self.rows:
            return []
        with using(self.lm, self.adapter):
            for group in self._groups:
                if group.read < group.length:
                    self._read(group)
                    return []
            if self._cache is None:
                return self._emit(self._begin())
            self._compact()
            return self._emit(self._next_logits(self._cache))

    def _read(self, group: _Group) -> None:
        """Run the model over the next slice of a group's prompts; keep the logits after their last token."""
        start, end = group.read, min(group.read + max(1, SLICE // len(group.prompts)), group.length)
        padding = [group.length - len(prompt) for prompt in group.prompts]
        ids = torch.tensor([[0] * n + list(prompt) for n, prompt in zip(padding, group.prompts, strict=True)])
        states = _run(self.lm, ids[:, start:end], padding, group.cache)
        group.read = end
        if end == group.length:
            group.logits = self.lm.head(states[:, -1])

    def _begin(self) -> Tensor:
        """Give every row its prompt's part of the cache, and return the logits [rows, V] of the first tokens."""
        parts, pieces, order = [], [], []
        self._rows = [row for row in self._rows if not row.gone]
        length = max(group.length for group in self._groups)
        for group in self._groups:
            targets = [
                [place for place, row in enumerate(self._rows) if tuple(row.request.prompt) == prompt]
                for prompt in group.prompts
            ]
            assert group.logits is not None
            pieces += [group.logits[i : i + 1].expand(len(rows), -1) for i, rows in enumerate(targets)]
            order += [place for rows in targets for place in rows]
            parts.append((group.cache, targets))
        for row in self._rows:
            row.start = length - len(row.request.prompt)
        self._cache = spread(parts, len(self._rows))
        self._groups = []
        return torch.cat(pieces)[torch.tensor(order).argsort()]

    def _compact(self) -> None:
        assert self._cache is not None
        for place in reversed(range(len(self._rows))):
            if self._rows[place].gone:
                self._cache.drop(place)
                last = self._rows.pop()
                if place < len(self._rows):
                    self._rows[place] = last

    def _next_logits(self, cache: RowCache) -> Tensor:
        ids = torch.tensor([[row.last] for row in self._rows])
        states = _run(self.lm, ids, [row.start for row in self._rows], cache)
        logits: Tensor = self.lm.head(states[:, -1])
        return logits

    def _emit(self, logits: Tensor) -> list[Event]:
        """Sample a token for every row from logits [rows, V]."""
        settings, streams = [row.request.settings for row in self._rows], [row.stream for row in self._rows]
        tokens, logprobs = sample(logits, settings, streams)
        events = []
        for row, token, logprob in zip(self._rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.last, row.count = token, row.count + 1
            finish = self._finish(row)
            row.gone = finish is not None
            events.append(Event(row.index, token, logprob, finish))
        return events

    def _finish(self, row: _Row) -> Finish | None:
        if row.last in self.lm.eos:
            return "stop"
        room = min(row.request.settings.max_tokens, self.lm.context - len(row.request.prompt))
        return "length" if row.count >= room else None


def generate(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    n: int,
    settings: Settings,
    seed: int,
    adapter: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    rows: int = 64,
) -> list[list[Sampled]]:
    """Sample `n` responses to each prompt, at most `rows` at a time; response j to prompt i has seed + i * n + j.

    Returns a list of `n` responses per prompt, in the order of the prompts. Raises Stopped soon after `should_stop`
    says so, ContextExceeded for a prompt that leaves no room.
    """
    requests = [Request(prompt, settings, seed + i * n + j) for i, prompt in enumerate(prompts) for j in range(n)]
    # Prompts of like length share a batch, which wastes the least on padding; each keeps its own seeds.
    order = sorted(range(len(requests)), key=lambda index: len(requests[index].prompt))
    done: dict[int, Sampled] = {}
    for start in range(0, len(order), rows):
        members = order[start : start + rows]
        batch = Batch(lm, [requests[index] for index in members], adapter)
        done.update(zip(members, _run_to_end(batch, should_stop), strict=True))
    return [[done[i * n + j] for j in range(n)] for i in range(len(prompts))]


def _run_to_end(batch: Batch, should_stop: Callable[[], bool]) -> list[Sampled]:
    tokens: list[list[int]] = [[] for _ in batch.requests]
    logprobs: list[list[float]] = [[] for _ in batch.requests]
    finished: list[Finish] = ["length" for _ in batch.requests]
    while batch.rows:
        if should_stop():
            raise Stopped
        for event in batch.step():
            tokens[event.index].append(event.token)
            logprobs[event.index].append(event.logprob)
            finished[event.index] = event.finish or "length"
    prompts = [list(request.prompt) for request in batch.requests]
    return [Sampled(*response) for response in zip(prompts, tokens, logprobs, finished, strict=True)]


def _run(lm: LanguageModel, ids: Tensor, padding: Sequence[int], cache: RowCache) -> Tensor:
    """Run the trunk over the next columns, ids [rows, columns], after what `cache` holds.

    `padding` says how many columns at the left of each row mean nothing. Returns states [rows, columns, D].
    """
    start, end = cache.length, cache.length + ids.shape[1]
    left = torch.tensor(padding, device=lm.device)[:, None]
    positions = (torch.arange(start, end, device=lm.device)[None] - left).clamp(min=0)
    mask = torch.arange(end, device=lm.device)[None] >= left if any(padding) else None
    states: Tensor = lm.trunk(
        ids.to(lm.device), attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
    )[0]
    cache.advance(ids.shape[1])
    return states


def _groups(prompts: set[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Split prompts into groups of like length whose padded size is one slice; a longer prompt is alone."""
    groups: list[list[tuple[int, ...]]] = []
    for prompt in sorted(prompts, key=lambda ids: (len(ids), ids)):
        if groups and (len(groups[-1]) + 1) * len(prompt) <= SLICE:
            groups[-1].append(prompt)
        else:
            groups.append([prompt])
    return groups
