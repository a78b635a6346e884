"""Sample responses token by token: a batch that can be advanced a step at a time, and `generate`, which runs it.

Prompts are read in slices, each distinct prompt once however many responses it gets, and the beginning that all prompts
share (a system turn) once for all. Rows are padded after that beginning, with an explicit mask and explicit positions.
A finished row leaves the batch at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import torch
from torch import Tensor

from workers.language.adapters import using
from workers.language.cache import RowCache, copies, spread
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
    """Prompts that are read together, padded after `prefix` tokens to one length."""

    prompts: list[tuple[int, ...]]
    prefix: int
    cache: RowCache | None = None
    logits: Tensor | None = None  # [prompts, V], after their last token

    @property
    def length(self) -> int:
        return max(len(prompt) for prompt in self.prompts)


@dataclass
class _Row:
    index: int
    request: Request
    stream: Random
    padding: int = 0  # columns that mean nothing, after the shared prefix
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
        prompts = {tuple(request.prompt) for request in requests}
        self._prefix = _shared(prompts)
        self._groups = [_Group(group, self._prefix) for group in _groups(prompts, self._prefix)]
        self._cache: RowCache | None = None  # of the shared prefix at first, of all rows once every prompt is read

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
            if self._groups:
                if not self._read():
                    return []
                return self._emit(self._begin())
            self._compact()
            assert self._cache is not None
            padding = [row.padding for row in self._rows]
            return self._emit(self._run(torch.tensor([[row.last] for row in self._rows]), padding, self._cache))

    def _read(self) -> bool:
        """Read the next slice of the prompts; say whether that was the last one."""
        if self._cache is None:
            self._cache = self._empty(1)
        if self._cache.length < self._prefix:
            ids = torch.tensor([self._groups[0].prompts[0][: self._prefix]])
            self._run(ids[:, self._cache.length : self._cache.length + SLICE], [0], self._cache)
            return False
        group = next(group for group in self._groups if group.logits is None)
        if group.cache is None:
            group.cache = copies(self._cache, len(group.prompts)) if self._prefix else self._empty(len(group.prompts))
        start, width = group.cache.length, max(1, SLICE // len(group.prompts))
        padding = [group.length - len(prompt) for prompt in group.prompts]
        rows = zip(padding, group.prompts, strict=True)
        ids = torch.tensor([[*prompt[: self._prefix], *[0] * n, *prompt[self._prefix :]] for n, prompt in rows])
        logits = self._run(ids[:, start : start + width], padding, group.cache)
        if group.cache.length == group.length:
            group.logits = logits
        return self._groups[-1].logits is not None

    def _empty(self, rows: int) -> RowCache:
        return RowCache(self.lm.model.config.num_hidden_layers, rows)

    def _run(self, ids: Tensor, padding: Sequence[int], cache: RowCache) -> Tensor:
        """Run the model over the next columns, ids [rows, columns], after what `cache` holds.

        `padding` says how many columns after the prefix mean nothing. Returns logits [rows, V] after the last column.
        """
        device, start, end = self.lm.device, cache.length, cache.length + ids.shape[1]
        hole = torch.tensor(padding, device=device)[:, None]
        columns = torch.arange(end, device=device)[None]
        positions = (columns[:, start:] - hole).clamp(min=0)  # the shared prefix itself is read without padding
        mask = (columns < self._prefix) | (columns >= self._prefix + hole) if any(padding) else None
        output = self.lm.trunk(
            ids.to(device), attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        cache.advance(ids.shape[1])
        logits: Tensor = self.lm.head(output[0][:, -1])
        return logits

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
            assert group.cache is not None
            parts.append((group.cache, targets))
        for row in self._rows:
            row.padding = length - len(row.request.prompt)
        self._cache = spread(parts, len(self._rows), self._prefix)
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


def _shared(prompts: set[tuple[int, ...]]) -> int:
    """How many tokens at the beginning all prompts share, leaving each at least one of its own."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)
    length = min(len(prompt) for prompt in prompts) - 1
    return next((place for place in range(length) if first[place] != last[place]), length)


def _groups(prompts: set[tuple[int, ...]], prefix: int) -> list[list[tuple[int, ...]]]:
    """Split prompts into groups of like length whose rest after the prefix is one slice; a longer prompt is alone."""
    groups: list[list[tuple[int, ...]]] = []
    for prompt in sorted(prompts, key=lambda ids: (len(ids), ids)):
        if groups and (len(groups[-1]) + 1) * (len(prompt) - prefix) <= SLICE:
            groups[-1].append(prompt)
        else:
            groups.append([prompt])
    return groups
