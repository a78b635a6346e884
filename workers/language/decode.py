"""Sample responses token by token: a batch that rows join and leave at any step, and `generate`, which runs one.

Prompts are read in groups, each distinct prompt once however many responses it gets, and the beginning that a group
shares (a system turn) once for all. Masks and positions are explicit, from the lengths; no id means padding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Literal

import torch
from torch import Tensor

from workers.language.adapters import using
from workers.language.cache import RowCache, copies
from workers.language.errors import ContextExceeded, Stopped
from workers.language.layers import inputs_caught
from workers.language.model import LanguageModel
from workers.language.sampling import Settings, sample

Finish = Literal["stop", "length"]
# A step never reads more than this many prompt tokens, so that other batches, and somebody new who waits for a first
# token, get their turn soon.
SLICE = 256


@dataclass(frozen=True)
class Request:
    """One response to be sampled."""

    prompt: Sequence[int]
    settings: Settings
    seed: int
    top: int = 0
    """How many of the most probable tokens each event names beside the one that was drawn."""


@dataclass(frozen=True)
class Event:
    """One sampled token of the request with number `key`; `finish` is set with its last one."""

    key: int
    token: int
    logprob: float
    finish: Finish | None
    top: tuple[tuple[int, float], ...] = ()
    """The most probable tokens with their log-probabilities, where the request asked for them."""


@dataclass(frozen=True)
class Sampled:
    """One response. `token_ids` holds the end-of-turn token iff it was sampled (finish `stop`); `logprobs` are under
    the whole distribution at the temperature of its settings, one per token."""

    prompt_ids: list[int]
    token_ids: list[int]
    logprobs: list[float]
    finish: Finish
    states: tuple[Tensor, ...] = field(default=(), compare=False)
    """After the blocks that were asked for, [prompt + response, D] each, on the CPU."""


@dataclass
class _Row:
    key: int
    request: Request
    stream: Random
    urgent: bool = False
    count: int = 0  # tokens sampled
    last: int = 0
    done: bool = False  # its last token is sampled
    gone: bool = False


@dataclass
class _Group:
    """Rows whose prompts are read together: first what all share, then the rest, padded after it to one length."""

    rows: list[_Row]
    prompts: list[tuple[int, ...]]
    shared: int
    cache: RowCache

    @property
    def length(self) -> int:
        return max(len(prompt) for prompt in self.prompts)

    @property
    def padding(self) -> list[int]:
        return [self.length - len(prompt) for prompt in self.prompts]


class Batch:
    """Responses sampled together with the adapter named `adapter` (None: the base model).

    The states after the blocks `keep` (none of them the last) are put into `kept` by the request's number once a
    response is whole; its last token is read for that too.
    """

    def __init__(self, lm: LanguageModel, adapter: str | None = None, keep: Sequence[int] = ()) -> None:
        self.lm = lm
        self.adapter = adapter
        self.keep = keep
        self.kept: dict[int, tuple[Tensor, ...]] = {}
        self._keys = count()
        self._unread: list[_Row] = []
        self._groups: list[_Group] = []  # being read, the last one first
        self._rows: list[_Row] = []  # the same order as the rows of the cache
        self._cache = self._new_cache([])
        self._read_last = False

    @property
    def size(self) -> int:
        """How many responses are unfinished, those whose prompts are not read yet included."""
        return sum(not row.gone for row in self._all())

    def _all(self) -> list[_Row]:
        return [*self._unread, *(row for group in self._groups for row in group.rows), *self._rows]

    def add(self, requests: Sequence[Request], first: bool = False) -> list[int]:
        """Take requests in and return their numbers. Raises ContextExceeded.

        If `first` they are read at the next step, before all that wait and whatever is being read.
        """
        for request in requests:
            if len(request.prompt) > self.lm.context - 1:
                raise ContextExceeded(len(request.prompt), self.lm.context)
        rows = [_Row(next(self._keys), request, Random(request.seed), first) for request in requests]
        self._unread = rows + self._unread if first else self._unread + rows
        return [row.key for row in rows]

    def drop(self, key: int) -> None:
        """Sample no more tokens for the request with this number."""
        for row in self._all():
            row.gone = row.gone or row.key == key

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Do one bounded piece of work: read a slice of prompts, or sample one token for every row that is read.

        The two take turns, so that neither a long prompt nor many new ones keep the others waiting; but who came first
        has its turn at once.
        """
        self._compact()
        with using(self.lm, self.adapter):
            urgent = bool(self._unread) and self._unread[0].urgent
            if urgent or ((self._unread or self._groups) and not (self._rows and self._read_last)):
                self._read_last = True
                return self._read()
            self._read_last = False
            if not self._rows:
                return []
            logits = self._run([[row.last] for row in self._rows], self._cache)
            if not any(row.done for row in self._rows):
                return self._emit(self._rows, logits)
            return self._emit_after_whole_ones(logits)

    def _emit_after_whole_ones(self, logits: Tensor) -> list[Event]:
        """Let go of the rows that are read to their end, with their states; sample a token for each of the others."""
        for place, row in enumerate(self._rows):
            if row.done:
                self.kept[row.key] = self._cache.states(place)
                row.gone = True
        going = [place for place, row in enumerate(self._rows) if not row.done]
        return self._emit([self._rows[place] for place in going], logits[going]) if going else []

    def _compact(self) -> None:
        self._unread = [row for row in self._unread if not row.gone]
        for place in reversed(range(len(self._rows))):
            if self._rows[place].gone:
                self._cache.drop(place)
                last = self._rows.pop()
                if place < len(self._rows):
                    self._rows[place] = last
        if not self._rows:
            self._cache = self._new_cache([])

    def _read(self) -> list[Event]:
        """Read the next slice of a group's prompts; after the last its rows join the batch with their first token."""
        if not self._groups or (self._unread and self._unread[0].urgent):
            self._groups.append(self._next_group())
        group = self._groups[-1]
        start = group.cache.length
        if start < group.shared:
            self._run([group.prompts[0][start : min(start + SLICE, group.shared)]], group.cache)
            return []
        if start == group.shared and start > 0:
            group.cache = copies(group.cache, group.padding)
        end = min(start + max(1, SLICE // len(group.prompts)), group.length)
        logits = self._run([_columns(group, prompt)[start:end] for prompt in group.prompts], group.cache)
        if end < group.length:
            return []
        self._groups.pop()
        rows = [row for row in group.rows if not row.gone]
        if not rows:
            return []
        sources = [group.prompts.index(tuple(row.request.prompt)) for row in rows]
        self._cache.join(group.cache, sources)
        self._rows += rows
        return self._emit(rows, logits[sources])

    def _next_group(self) -> _Group:
        """Take rows from those that wait, in order, as long as what must be read of their prompts fits into a slice.

        Urgent rows are not read together with others, whose prompts would only keep them waiting.
        """
        prompts: list[tuple[int, ...]] = []
        taken = 0
        for row in self._unread:
            if row.urgent != self._unread[0].urgent:
                break
            prompt = tuple(row.request.prompt)
            if prompt not in prompts:
                more = [*prompts, prompt]
                shared = self._shared(more)
                if prompts and shared + len(more) * (max(map(len, more)) - shared) > SLICE:
                    break
                prompts = more
            taken += 1
        rows, self._unread = self._unread[:taken], self._unread[taken:]
        shared = self._shared(prompts)
        group = _Group(rows, prompts, shared, self._new_cache([0]))
        if not shared:
            group.cache = self._new_cache(group.padding)
        return group

    def _shared(self, prompts: Sequence[tuple[int, ...]]) -> int:
        """How many tokens are read once for all; none where the padding after them would fill an attention window."""
        window = getattr(self.lm.model.config, "sliding_window", None)
        return _shared(prompts) if window is None or max(map(len, prompts)) <= window else 0

    def _new_cache(self, padding: Sequence[int]) -> RowCache:
        return RowCache(self.lm.model.config.num_hidden_layers, padding, kept=len(self.keep))

    def _run(self, ids: Sequence[Sequence[int]], cache: RowCache) -> Tensor:
        """Run the model over the next columns, ids [rows, columns]; return logits [rows, V] after the last of them."""
        device, width = self.lm.device, len(ids[0])
        cache.make_room(width)
        end = cache.length + width
        hole = torch.tensor(cache.padding, device=device)[:, None]
        columns = torch.arange(end, device=device)[None]
        positions = (columns[:, cache.length :] - hole).clamp(min=0)  # a shared prefix itself is read without padding
        mask = (columns < cache.prefix) | (columns >= cache.prefix + hole) if any(cache.padding) else None
        with inputs_caught(self.lm, self.keep) as caught:
            output = self.lm.trunk(
                torch.tensor(ids, device=device),
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
        cache.keep([caught[layer] for layer in self.keep])
        cache.advance(width)
        logits: Tensor = self.lm.head(output[0][:, -1])
        return logits

    def _emit(self, rows: list[_Row], logits: Tensor) -> list[Event]:
        """Sample a token for each of `rows` from logits [rows, V]."""
        tokens, logprobs = sample(logits, [row.request.settings for row in rows], [row.stream for row in rows])
        events = []
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.last, row.count = token, row.count + 1
            finish = self._finish(row)
            row.done = finish is not None
            row.gone = row.gone or (row.done and not self.keep)
            events.append(Event(row.key, token, logprob, finish))
        if any(row.request.top for row in rows):
            return [replace(event, top=_top(row, one)) for event, row, one in zip(events, rows, logits, strict=True)]
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
    keep: Sequence[int] = (),
) -> list[list[Sampled]]:
    """Sample `n` responses to each prompt, at most `rows` at a time; response j to prompt i has seed + i * n + j.

    Returns a list of `n` responses per prompt, in the order of the prompts, with the states after the blocks `keep`.
    Raises Stopped soon after `should_stop` says so, ContextExceeded for a prompt that leaves no room.
    """
    requests = [Request(prompt, settings, seed + i * n + j) for i, prompt in enumerate(prompts) for j in range(n)]
    # Prompts of like length are read together, which wastes the least on padding; each keeps its own seeds.
    waiting = sorted(range(len(requests)), key=lambda index: len(requests[index].prompt))
    batch = Batch(lm, adapter, keep)
    places: dict[int, int] = {}
    tokens: list[list[int]] = [[] for _ in requests]
    logprobs: list[list[float]] = [[] for _ in requests]
    finished: list[Finish] = ["length" for _ in requests]
    while waiting or batch.size:
        if should_stop():
            raise Stopped
        # New rows come in a quarter at a time, because reading one prompt alone costs as much as reading several.
        if waiting and batch.size <= rows - max(1, rows // 4):
            coming, waiting = waiting[: rows - batch.size], waiting[rows - batch.size :]
            places.update(zip(batch.add([requests[index] for index in coming]), coming, strict=True))
        for event in batch.step():
            index = places[event.key]
            tokens[index].append(event.token)
            logprobs[index].append(event.logprob)
            finished[index] = event.finish or "length"
    kept = {places[key]: states for key, states in batch.kept.items()}
    states = [kept.get(index, ()) for index in range(len(requests))]
    parts = zip((list(request.prompt) for request in requests), tokens, logprobs, finished, states, strict=True)
    done = [Sampled(*response) for response in parts]
    return [done[start : start + n] for start in range(0, len(done), n)]


def _top(row: _Row, logits: Tensor) -> tuple[tuple[int, float], ...]:
    """The most probable tokens of logits [V] under the whole distribution at the row's temperature, as in `sample`."""
    if not row.request.top:
        return ()
    found = torch.log_softmax(logits.float() / (row.request.settings.temperature or 1.0), -1).topk(row.request.top)
    return tuple(zip(found.indices.tolist(), found.values.tolist(), strict=True))


def _columns(group: _Group, prompt: tuple[int, ...]) -> list[int]:
    """The prompt as its row of the group: what all share, padding, its own rest."""
    return [*prompt[: group.shared], *[0] * (group.length - len(prompt)), *prompt[group.shared :]]


def _shared(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many tokens at the beginning all prompts share, leaving each at least one of its own."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)
    length = min(len(prompt) for prompt in prompts) - 1
    return next((place for place in range(length) if first[place] != last[place]), length)
