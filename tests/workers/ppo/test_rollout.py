"""What a rollout says about drawn answers does not depend on how they were batched or where the adapter begins."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.workers.reward.test_model import make
from workers.language.adapters import LoraConfig, create, using
from workers.language.decode import Sampled
from workers.language.layers import block_count
from workers.language.logprobs import hidden_states, response_logprobs
from workers.language.model import LanguageModel
from workers.ppo.rollout import POLICY, Rollout, Trunk, before_tokens, draw, look_at, micro_batches

PROMPTS = [[5, 6, 7], [9] * 12, [10, 11], [5, 6, 7]]


def trunk(lm: LanguageModel, lower: int, moved: float, reward_lower: int | None = None) -> Trunk:
    """A trunk whose policy has adapters from block `lower` on, `moved` away from the base model."""
    policy = create(lm, POLICY, LoraConfig(4, 8, layers=tuple(range(lower, block_count(lm)))), seed=2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)) * moved)
    return Trunk(lm, make(lm, reward_lower), lower)


def rollout(made: Trunk, micros: list[list[int]] | None = None, **fields: Any) -> tuple[list[Sampled], Rollout]:
    drawn = draw(made, PROMPTS, 12, seed=3)
    return drawn, look_at(made, drawn, micros or [[0, 1, 2, 3]], keep=True)


@pytest.mark.parametrize("reward_lower", [None, 0, 1, 2])
@pytest.mark.parametrize("lower", [0, 1, 2])
def test_shared_lower_blocks_change_nothing(family: LanguageModel, lower: int, reward_lower: int | None) -> None:
    made = trunk(family, lower, 0.2, reward_lower)
    drawn, found = rollout(made)
    # Without an adapter the head reads the states after block 1.
    assert all(one.states for one in drawn) == (lower > 0 and {None: 1, 0: 0}.get(reward_lower, reward_lower) <= lower)
    rows = [(one.prompt_ids, one.token_ids) for one in drawn]
    with torch.no_grad(), using(family, POLICY):
        logp, mask = response_logprobs(family, rows)
        hidden = before_tokens(hidden_states(family, rows)[0], rows)
    torch.testing.assert_close(found.logp, logp, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.reference, response_logprobs(family, rows)[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.hidden, hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.score, made.reward.scores(rows).detach(), atol=1e-4, rtol=1e-5)
    assert torch.equal(found.mask, mask)
    assert found.kl_k3() > 0.01
    # The sampler, token by token with a cache, means the same policy.
    assert found.gap < 1e-5


def test_micro_batches_change_nothing(tiny: LanguageModel) -> None:
    made = trunk(tiny, 1, 0.2)
    _, together = rollout(made)
    _, apart = rollout(made, [[3], [0, 2], [1]])
    for name in ("logp", "reference", "score", "hidden", "earned"):
        torch.testing.assert_close(getattr(apart, name), getattr(together, name), atol=1e-5, rtol=1e-5)
    assert sorted(apart.lower) == [0, 1, 3]


def test_a_value_head_sees_states_and_what_was_earned_and_nothing_of_what_comes(tiny: LanguageModel) -> None:
    made = trunk(tiny, 1, 0.2)
    drawn, found = rollout(made)
    row = int(found.lengths().argmax())
    cut = int(found.lengths()[row]) - 1
    short = replace(drawn[row], token_ids=drawn[row].token_ids[:cut], logprobs=drawn[row].logprobs[:cut], states=())
    alone = look_at(made, [short], [[0]], keep=False)
    assert found.seen().shape[2] == tiny.model.config.hidden_size + 2
    torch.testing.assert_close(found.seen()[row, :cut], alone.seen()[0], atol=1e-5, rtol=1e-4)


def test_its_kl_is_that_of_the_two_distributions(tiny: LanguageModel) -> None:
    """Answers of one token, so that the KL can be summed up over the whole vocabulary."""
    made, prompt, count = trunk(tiny, 0, 0.3), PROMPTS[0], 4_000
    drawn = draw(made, [prompt] * count, 1, seed=0)
    found = look_at(made, drawn, [range(start, start + 500) for start in range(0, count, 500)], keep=False)
    with torch.no_grad():
        base = tiny.model(torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1)
        with using(tiny, POLICY):
            policy = tiny.model(torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1)
    exact = float((policy.exp() * (policy - base)).sum())
    error = float((found.logp - found.reference).std()) / count**0.5
    assert exact > 20 * error
    assert found.kl() == pytest.approx(exact, abs=3 * error)
    assert found.kl_k3() == pytest.approx(exact, abs=3 * error)


def test_a_fresh_policy_is_the_base_model_exactly(tiny: LanguageModel) -> None:
    _, found = rollout(trunk(tiny, 0, 0.0))
    assert found.kl() == 0.0
    assert found.kl_k3() == 0.0
    assert torch.equal(found.logp, found.reference)


def test_lengths_and_ends_are_what_the_sampler_said(tiny: LanguageModel) -> None:
    drawn, found = rollout(trunk(tiny, 1, 0.0))
    assert found.lengths().tolist() == [len(one.token_ids) for one in drawn]
    assert found.ended.tolist() == [one.token_ids[-1] in tiny.eos for one in drawn]
    assert int(found.mask.sum()) == sum(len(one.token_ids) for one in drawn)


def test_an_answer_without_an_end_pays_and_prompts_do_not_count() -> None:
    zeros = torch.zeros(3, 1)
    # The first prompt is full of end tokens; only whether the answer itself ended counts.
    made = Rollout(
        rows=[([2, 2, 2], [5]), ([4], [2]), ([4], [5])],
        mask=torch.ones(3, 1, dtype=torch.bool),
        ended=torch.tensor([False, True, False]),
        logp=zeros,
        reference=zeros,
        score=torch.tensor([9.0, 0.5, -9.0]),
        hidden=zeros[..., None],
        earned=zeros[..., None],
        lower={},
        gap=0.0,
    )
    assert made.rewards(clip=5.0, penalty=1.0, expected=False).tolist() == [4.0, 0.5, -6.0]
    # Where an end is expected, those without one score 2 more on average, and are charged 2 more.
    made = made._replace(score=torch.tensor([9.0, 0.5, 0.0]))
    assert made.rewards(clip=5.0, penalty=1.0, expected=True).tolist() == [2.0, 0.5, -3.0]


def test_states_before_tokens_start_at_the_last_token_of_the_prompt() -> None:
    states = torch.arange(10.0).view(1, 5, 2)
    found = before_tokens(states, [([1, 1, 1], [1, 1])])
    assert found.tolist() == [[[4.0, 5.0], [6.0, 7.0]]]


def test_micro_batches_hold_rows_of_like_length() -> None:
    rows = [([1] * n, [1]) for n in (9, 1, 5, 7, 2, 8, 3, 6, 4, 10)]
    found = micro_batches(rows, [[9, 0, 1], list(range(10))])
    assert found[0] == [[1, 0, 9]]
    assert found[1] == [[1, 4, 6, 8, 2, 7, 3, 5], [0, 9]]
