"""One function computes log-probabilities: right at every position, whatever stands beside a row in the batch."""

import pytest
import torch

from workers.language import adapters
from workers.language.adapters import LoraConfig, using
from workers.language.logprobs import hidden_states, response_logprobs, token_logprobs
from workers.language.model import LanguageModel

# Id 0 is the pad token and 2 the end of a turn: both stand inside prompts and responses here, and must count.
ROWS = [([1, 40, 2, 3], [50, 51, 2]), ([1, 0, 60], [0]), ([1, 2, 2, 2, 45, 46, 47], [2, 0, 2, 0, 70])]


def by_hand(lm: LanguageModel, prompt: list[int], response: list[int], temperature: float = 1.0) -> torch.Tensor:
    """One row alone, token by token, out of the model's own logits."""
    logits = lm.model(torch.tensor([prompt + response])).logits[0].float() / temperature
    table = logits.log_softmax(-1)
    return torch.stack([table[len(prompt) + index - 1, token] for index, token in enumerate(response)])


def test_every_token_has_the_log_probability_of_the_row_alone(family: LanguageModel) -> None:
    logprobs, mask = response_logprobs(family, ROWS)
    assert mask.tolist() == [[True] * 3 + [False] * 2, [True] + [False] * 4, [True] * 5]
    for index, (prompt, response) in enumerate(ROWS):
        assert torch.allclose(logprobs[index, : len(response)], by_hand(family, prompt, response), atol=1e-5)
    assert logprobs[~mask].abs().sum() == 0


def test_the_order_of_rows_does_not_matter(family: LanguageModel) -> None:
    forwards, _ = response_logprobs(family, ROWS)
    backwards, _ = response_logprobs(family, ROWS[::-1])
    assert torch.allclose(forwards, backwards.flip(0), atol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_the_temperature_divides_the_logits(tiny: LanguageModel, temperature: float) -> None:
    logprobs, _ = response_logprobs(tiny, ROWS[:1], temperature)
    assert torch.allclose(logprobs[0], by_hand(tiny, *ROWS[0], temperature), atol=1e-5)


def test_the_size_of_a_chunk_does_not_matter(tiny: LanguageModel) -> None:
    whole, _ = response_logprobs(tiny, ROWS)
    pieces, _ = response_logprobs(tiny, ROWS, chunk=2)
    assert torch.allclose(whole, pieces, atol=1e-6)


def test_the_gradient_is_that_of_plain_log_softmax(family: LanguageModel) -> None:
    adapter = adapters.create(family, "policy", LoraConfig(rank=2))
    weights = torch.tensor([[0.3, -1.0, 2.0, 0, 0], [1.5, 0, 0, 0, 0], [0.1, 0.2, -0.3, 0.4, 0.5]])
    with using(family, "policy"):
        logprobs, mask = response_logprobs(family, ROWS, 0.7, chunk=4)
        torch.autograd.backward((logprobs * weights * mask).sum())
        ours = [b.grad.clone() for _, b in adapter.pairs.values() if b.grad is not None]
        for parameter in adapter.parameters():
            parameter.grad = None
        rows = zip(ROWS, weights, strict=True)
        torch.autograd.backward(
            torch.stack([(by_hand(family, *row, 0.7) * w[: len(row[1])]).sum() for row, w in rows]).sum()
        )
    theirs = [b.grad for _, b in adapter.pairs.values() if b.grad is not None]
    assert len(ours) == len(theirs) == len(adapter.pairs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)


def test_hidden_states_of_every_layer_are_those_of_transformers(family: LanguageModel) -> None:
    prompt, response = ROWS[2]
    every = family.model(torch.tensor([prompt + response]), output_hidden_states=True).hidden_states
    for layer in range(3):
        states, lengths, prompt_lengths = hidden_states(family, ROWS, layer)
        assert torch.allclose(states[2], every[layer][0], atol=1e-5), layer
    assert lengths.tolist() == [7, 4, 12]
    assert prompt_lengths.tolist() == [4, 3, 7]
    assert torch.allclose(hidden_states(family, ROWS)[0][2], every[-1][0], atol=1e-5)


def test_the_state_after_all_blocks_comes_before_the_final_norm(tiny: LanguageModel) -> None:
    before = hidden_states(tiny, ROWS, 2)[0]
    assert torch.allclose(tiny.trunk.norm(before), hidden_states(tiny, ROWS)[0], atol=1e-5)
    with pytest.raises(ValueError, match="2 blocks"):
        hidden_states(tiny, ROWS, 3)


def test_states_that_are_there_already_give_the_same(tiny: LanguageModel) -> None:
    states, _, _ = hidden_states(tiny, ROWS)
    assert torch.equal(token_logprobs(tiny, states, ROWS)[0], response_logprobs(tiny, ROWS)[0])


def test_an_empty_response_has_no_tokens(tiny: LanguageModel) -> None:
    logprobs, mask = response_logprobs(tiny, [([1, 5], []), ([1, 6], [7])])
    assert mask.tolist() == [[False], [True]]
    assert logprobs[0, 0] == 0
    with pytest.raises(ValueError, match="at least one token"):
        response_logprobs(tiny, [([], [5])])
