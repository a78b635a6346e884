"""Decoding with a cache, padding and a shrinking batch gives what the model gives for each row alone."""

import gc
import weakref
from random import Random

import pytest
import torch

from workers.language import adapters
from workers.language.adapters import LoraConfig, using
from workers.language.cache import GROWTH
from workers.language.decode import Batch, Request, Sampled, generate
from workers.language.errors import ContextExceeded, Stopped
from workers.language.layers import states_at
from workers.language.logprobs import response_logprobs
from workers.language.model import LanguageModel
from workers.language.sampling import Settings, sample

# Pad id 0 and end-of-turn id 2 stand inside prompts, lengths differ, one prompt is there twice.
PROMPTS = [[1, 40, 2, 3], [1, 0, 60, 2, 2, 61, 62, 63, 64], [7], [1, 40, 2, 3]]
FREE = Settings(temperature=1.0, top_p=1.0, max_tokens=12)


def flat(responses: list[list[Sampled]]) -> list[Sampled]:
    return [response for group in responses for response in group]


def one_by_one(lm: LanguageModel, prompt: list[int], settings: Settings, seed: int) -> list[int]:
    """The same response without cache, padding or batch: the whole row through the model for every token."""
    tokens: list[int] = []
    stream = Random(seed)
    while len(tokens) < settings.max_tokens and not (tokens and tokens[-1] in lm.eos):
        with torch.no_grad():
            logits = lm.model(torch.tensor([prompt + tokens])).logits[:, -1]
        tokens.append(int(sample(logits, [settings], [stream])[0]))
    return tokens


def test_every_row_is_what_it_would_be_alone(family: LanguageModel) -> None:
    for response, seed in zip(flat(generate(family, PROMPTS, 2, FREE, seed=5)), range(5, 13), strict=True):
        assert response.token_ids == one_by_one(family, response.prompt_ids, FREE, seed)
        assert response.finish == ("stop" if response.token_ids[-1] == 2 else "length")


def test_log_probabilities_are_those_of_the_teacher_forced_pass(family: LanguageModel) -> None:
    settings = Settings(temperature=0.8, top_p=0.9, max_tokens=12)
    responses = flat(generate(family, PROMPTS, 2, settings, seed=1))
    rows = [(response.prompt_ids, response.token_ids) for response in responses]
    expected, mask = response_logprobs(family, rows, temperature=0.8)
    for index, response in enumerate(responses):
        assert torch.allclose(torch.tensor(response.logprobs), expected[index][mask[index]], atol=1e-4)


def test_an_adapter_is_used_in_every_step(family: LanguageModel) -> None:
    adapter = adapters.create(family, "policy", LoraConfig(rank=4))
    with torch.no_grad():
        for _, b in adapter.pairs.values():
            b.normal_(std=0.1, generator=torch.Generator().manual_seed(2))
    adapted, base = (flat(generate(family, PROMPTS, 1, FREE, seed=3, adapter=name)) for name in ("policy", None))
    assert [response.token_ids for response in adapted] != [response.token_ids for response in base]
    with using(family, "policy"):
        for index, response in enumerate(adapted):
            assert response.token_ids == one_by_one(family, response.prompt_ids, FREE, 3 + index)


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_states_that_are_kept_on_the_way_are_those_of_the_whole_row(family: LanguageModel, rows: int) -> None:
    # The same beginning is read once for all, and the rows' own parts differ in length.
    prompts = [[1, 40, 2, 3], [1, 40, 60, 2, 2, 61, 62, 63, 64], [1, 40, 7], [1, 40, 2, 3]]
    kept = flat(generate(family, prompts, 2, FREE, seed=5, rows=rows, keep=[0, 1]))
    for one, plain in zip(kept, flat(generate(family, prompts, 2, FREE, seed=5, rows=rows)), strict=True):
        assert one.token_ids == plain.token_ids
        with torch.no_grad():
            whole = states_at(family, [(one.prompt_ids, one.token_ids)], [0, 1])
        for layer, states in zip((0, 1), one.states, strict=True):
            torch.testing.assert_close(states, whole[layer][0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_the_size_and_order_of_a_batch_do_not_matter(tiny: LanguageModel, rows: int) -> None:
    settings = Settings(temperature=1.0, top_p=0.9, max_tokens=30)
    forwards = generate(tiny, PROMPTS, 1, settings, seed=0, rows=rows)
    requests = [Request(prompt, settings, seed) for seed, prompt in enumerate(PROMPTS)]
    batch = Batch(tiny)
    batch.add(requests[::-1])
    tokens: list[list[int]] = [[] for _ in PROMPTS]
    while batch.size:
        for event in batch.step():
            tokens[event.key].append(event.token)
    assert tokens[::-1] == [group[0].token_ids for group in forwards]


def test_the_responses_to_one_prompt_begin_differently(tiny: LanguageModel) -> None:
    (responses,) = generate(tiny, [[1, 40, 41, 3]], 16, FREE, seed=0)
    assert len({response.token_ids[0] for response in responses}) > 4


def run(batch: Batch, tokens: dict[int, list[int]], steps: int = 10_000) -> None:
    """Advance a batch by so many steps, or to its end; collect the tokens by request number."""
    while batch.size and steps:
        steps -= 1
        for event in batch.step():
            tokens.setdefault(event.key, []).append(event.token)


def test_a_long_prompt_is_read_in_slices(family: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.language.decode.SLICE", 7)
    prompts = [[1, *range(10, 60)], [1, 5, 6], [1, 5, 7], [1, *range(20, 40)]]
    sizes: list[torch.Size] = []
    handle = family.trunk.register_forward_pre_hook(lambda _module, inputs: sizes.append(inputs[0].shape))
    batch, tokens = Batch(family), dict[int, list[int]]()
    batch.add([Request(prompt, FREE, seed) for seed, prompt in enumerate(prompts)])
    run(batch, tokens)
    handle.remove()
    reads = [tuple(size) for size in sizes if size[1] > 1 or size[0] * size[1] == 2]
    assert max(rows * columns for rows, columns in reads) == 7
    assert [tokens[key] for key in range(4)] == [one_by_one(family, p, FREE, seed) for seed, p in enumerate(prompts)]


def test_rows_join_at_any_step(family: LanguageModel) -> None:
    """A longer prompt than all before it, one with a shared beginning, one after the batch was empty."""
    settings = Settings(max_tokens=9)
    prompts = [[1, 40, 3], [1, *range(30, 60), 3], [1, 40, 5, 3], [1, 40, 5, 6, 7, 3], [1, 9, 3]]
    batch, tokens = Batch(family), dict[int, list[int]]()
    for number, steps in enumerate([3, 4, 0, 100, 100]):
        batch.add([Request(prompts[number], settings, number)])
        run(batch, tokens, steps)
    for key, prompt in enumerate(prompts):
        assert tokens[key] == one_by_one(family, prompt, settings, key), key


def test_urgent_rows_are_read_first(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.language.decode.SLICE", 20)
    batch = Batch(tiny)
    batch.add([Request([1, *[number] * 15, 3], FREE, number) for number in range(10, 20)])
    (urgent,) = batch.add([Request([1, 50, 3], FREE, 0)], first=True)
    assert [event.key for event in batch.step()] == [urgent]


def test_an_urgent_row_waits_for_no_turn_and_for_no_long_prompt(
    family: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.language.decode.SLICE", 7)
    prompts = [[1, 5, 6], [1, *range(10, 60)], [1, 20, 21, 22], [1, 30, 3]]
    batch, tokens = Batch(family), dict[int, list[int]]()
    batch.add([Request(prompts[0], FREE, 0), Request(prompts[1], FREE, 1)])
    run(batch, tokens, 4)  # the first one writes, the long prompt of the second is being read
    batch.add([Request(prompts[2], FREE, 2)])
    (urgent,) = batch.add([Request(prompts[3], FREE, 3)], first=True)
    events = batch.step()
    assert [event.key for event in events] == [urgent]
    tokens[urgent] = [events[0].token]
    run(batch, tokens)
    assert tokens[urgent] == one_by_one(family, prompts[3], FREE, 3)
    assert tokens[1] == one_by_one(family, prompts[1], FREE, 1)
    assert tokens[2] == one_by_one(family, prompts[2], FREE, 2)


def test_a_batch_that_is_never_empty_does_not_grow_for_ever(tiny: LanguageModel) -> None:
    settings = Settings(max_tokens=40)
    batch, tokens = Batch(tiny), dict[int, list[int]]()
    for number in range(40):
        batch.add([Request([1, 20 + number, 3], settings, number)])
        run(batch, tokens, 12)
    assert batch.size > 0
    assert batch._cache.length < 40 + 3 + GROWTH
    run(batch, tokens)
    for number in (0, 17, 39):
        assert tokens[number] == one_by_one(tiny, [1, 20 + number, 3], settings, number)


def test_what_a_batch_held_is_free_at_once(tiny: LanguageModel) -> None:
    batch = Batch(tiny)
    batch.add([Request([1, 50, 51, 3], Settings(max_tokens=3), 0)])
    run(batch, {}, 2)
    held = weakref.ref(batch._cache.buffers[0].keys)
    assert held() is not None
    gc.disable()
    try:
        del batch
        assert held() is None, "the garbage collector counts objects, not megabytes: it would come much later"
    finally:
        gc.enable()


def test_a_shared_beginning_is_read_once(family: LanguageModel) -> None:
    turn = [1, 50, 51, 52, 2, 3]
    prompts = [[*turn, 40, 41], [*turn, 42], [*turn, 40, 41, 43, 44, 45]]
    widths: list[int] = []
    handle = family.trunk.register_forward_pre_hook(lambda _module, inputs: widths.append(inputs[0].numel()))
    responses = flat(generate(family, prompts, 2, Settings(max_tokens=8), seed=9))
    handle.remove()
    # Six shared tokens, then three prompts padded to five tokens each.
    assert widths[:2] == [6, 15]
    expected = [
        one_by_one(family, prompt, Settings(max_tokens=8), 9 + 2 * i + j)
        for i, prompt in enumerate(prompts)
        for j in range(2)
    ]
    assert [response.token_ids for response in responses] == expected


def test_dropped_rows_change_nothing_for_the_others(tiny: LanguageModel) -> None:
    settings = Settings(max_tokens=20)
    requests = [Request([1, 40 + seed, 3], settings, seed) for seed in range(5)]
    batch = Batch(tiny)
    batch.add(requests)
    tokens: list[list[int]] = [[] for _ in requests]
    steps = 0
    while batch.size:
        steps += 1
        if steps == 2:
            batch.drop(0)
        if steps == 4:
            batch.drop(3)
        for event in batch.step():
            tokens[event.key].append(event.token)
    for seed in (1, 2, 4):
        assert tokens[seed] == one_by_one(tiny, [1, 40 + seed, 3], settings, seed)
    assert len(tokens[3]) < 4


def test_the_cache_grows_past_its_first_size(tiny: LanguageModel) -> None:
    settings = Settings(max_tokens=200)
    responses = flat(generate(tiny, [[1, 9, 3]], 32, settings, seed=0))
    longest = max(responses, key=lambda response: len(response.token_ids))
    assert len(longest.token_ids) > 2 * GROWTH
    # Log-probabilities and not tokens: over so many draws one may fall within a rounding error of an edge.
    expected, _ = response_logprobs(tiny, [(longest.prompt_ids, longest.token_ids)])
    assert torch.allclose(torch.tensor(longest.logprobs), expected[0], atol=1e-4)


def test_a_response_ends_where_the_context_ends(family: LanguageModel) -> None:
    prompt = [1] + [50] * 252
    ((response,),) = generate(family, [prompt], 1, Settings(max_tokens=100), seed=3)
    assert len(response.token_ids) <= 3
    assert (response.finish == "length") == (len(response.token_ids) == 3 and response.token_ids[-1] != 2)
    with pytest.raises(ContextExceeded, match="256 tokens long; the model reads at most 256"):
        generate(family, [[1] * 256], 1, FREE, seed=0)


def test_it_stops_when_asked(tiny: LanguageModel) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        generate(tiny, PROMPTS, 1, FREE, seed=0, should_stop=lambda: next(asked))


def test_temperature_zero_is_greedy(tiny: LanguageModel) -> None:
    first, second = (flat(generate(tiny, PROMPTS[:1], 1, Settings(0.0, max_tokens=8), seed=s))[0] for s in (1, 2))
    assert first == second
    with torch.no_grad():
        row = torch.tensor([first.prompt_ids + first.token_ids])
        greedy = tiny.model(row).logits[0].argmax(-1)
    assert first.token_ids == greedy[len(first.prompt_ids) - 1 : -1].tolist()
