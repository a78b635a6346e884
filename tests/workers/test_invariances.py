"""What must not matter does not: how far rows are padded, which id pads, who else is in the process."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.workers import training
from tests.workers.conftest import random_model
from tests.workers.language.test_adapters import trained
from tests.workers.ppo.test_rollout import trunk
from tests.workers.ppo.test_update import hyper
from tests.workers.reward.test_model import make
from workers.context import RecordingContext
from workers.iteration import run_iteration
from workers.language import adapters
from workers.language.adapters import using
from workers.language.decode import generate
from workers.language.logprobs import Row, response_logprobs
from workers.language.model import LanguageModel
from workers.language.sampling import Settings
from workers.policy import POLICY
from workers.ppo.rollout import draw, look_at
from workers.ppo.update import learn
from workers.reward.model import score_all

ROWS: list[Row] = [([1, 40, 2, 3], [50, 51, 2]), ([1, 0, 60], [0]), ([1, 2, 2, 2, 45, 46, 47], [2, 0, 2, 0, 70])]
LONG: Row = ([1] + [55] * 120, [44, 2, 0] * 30)
PROMPTS = [[5, 6, 7], [9] * 12, [10, 11]]


def gradients(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether every number is the same, to the last bit."""
    return len(one) == len(other) > 0 and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def alike(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether two gradients differ by rounding alone."""
    assert len(one) == len(other) > 0
    largest = max(float(a.abs().max()) for a in one)
    return all(float((a - b).abs().max()) < 1e-5 * largest for a, b in zip(one, other, strict=True))


def test_two_hundred_places_of_padding_change_no_log_probability_and_no_score(family: LanguageModel) -> None:
    model = make(family, 1)
    with torch.no_grad():
        short, mask = response_logprobs(family, ROWS)
        beside, _ = response_logprobs(family, [*ROWS, LONG])
        scores = model.scores(ROWS), model.scores([*ROWS, LONG])[:-1]
    torch.testing.assert_close(beside[: len(ROWS), : mask.shape[1]], short, atol=1e-5, rtol=0)
    assert beside[: len(ROWS), mask.shape[1] :].abs().sum() == 0
    # Rounding alone: a score is the sum of 320 products here.
    torch.testing.assert_close(scores[1], scores[0], atol=3e-5, rtol=1e-5)


def test_padding_has_no_gradient(family: LanguageModel) -> None:
    adapter = trained(family, "policy")
    found = []
    for rows in (ROWS, [*ROWS, LONG]):
        for parameter in adapter.parameters():
            parameter.grad = None
        with using(family, "policy"):
            torch.autograd.backward(response_logprobs(family, rows)[0][: len(ROWS)].sum())
        found.append(gradients(adapter.parameters()))
    assert alike(*found)


def test_the_order_of_the_answers_changes_no_ppo_gradient(tiny: LanguageModel) -> None:
    found = []
    for order in ([0, 1, 2], [2, 0, 1]):
        made = trunk(tiny, 1, 0.1)
        policy = tiny.adapters[POLICY].parameters()
        drawn = draw(made, PROMPTS, 12, seed=3)
        seen = look_at(made, [drawn[index] for index in order], [[0, 1, 2]], keep=True)
        worth = torch.tensor([0.03, -0.02, 0.01])[order][:, None] * seen.mask
        learn(made, seen, worth, [[[0, 1, 2]]], policy, torch.optim.SGD(policy), hyper(), 0)
        found.append(gradients(policy))
    assert alike(*found)


def test_it_does_not_matter_which_id_pads() -> None:
    """SmolLM2 pads with the very token that ends a turn; nothing may be read out of that."""
    found = []
    for pad, token in ((0, "<|pad|>"), (2, "<|im_end|>")):
        lm = random_model("llama")
        lm.tokenizer.pad_token, lm.model.config.pad_token_id = token, pad
        model = make(lm, 1)
        drawn = generate(lm, PROMPTS, 2, Settings(max_tokens=12), seed=4)
        with torch.no_grad():
            numbers = [response_logprobs(lm, ROWS)[0], score_all(model, ROWS)]
        found.append((drawn, numbers))
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])


def test_adapters_do_not_see_each_other(family: LanguageModel) -> None:
    """The first one alone, beside a second one, and after the second one was used, trained and forgotten."""

    def now(name: str | None) -> Tensor:
        with torch.no_grad(), using(family, name):
            return response_logprobs(family, ROWS)[0]

    first = trained(family, "first", seed=1)
    base, alone = now(None), now("first")
    before = [parameter.detach().clone() for parameter in first.parameters()]
    second = trained(family, "second", seed=2)
    optimiser = torch.optim.SGD(second.parameters(), lr=0.1)
    with using(family, "second"):
        torch.autograd.backward(response_logprobs(family, ROWS)[0].sum())
        assert torch.equal(now("first"), alone)
    optimiser.step()
    assert not torch.equal(now("second"), base)
    assert torch.equal(now("first"), alone)
    adapters.detach(family, "second")
    assert torch.equal(now("first"), alone)
    assert torch.equal(now(None), base)
    assert same([parameter.detach() for parameter in first.parameters()], before)
    assert not gradients(first.parameters())
    assert not any(module._forward_hooks or "forward" in vars(module) for module in family.model.modules())


def test_learning_leaves_the_base_model_as_it_was(tiny: LanguageModel) -> None:
    before = [weight.clone() for weight in tiny.model.state_dict().values()]
    made = trunk(tiny, 0, 0.1)
    policy = tiny.adapters[POLICY].parameters()
    seen = look_at(made, draw(made, PROMPTS, 12, seed=3), [[0, 1, 2]], keep=True)
    moved = [parameter.detach().clone() for parameter in policy]
    learn(made, seen, seen.logp, [[[0, 1, 2]]], policy, torch.optim.AdamW(policy, lr=1e-2), hyper(), 0)
    assert not same([parameter.detach() for parameter in policy], moved)
    assert same(list(tiny.model.state_dict().values()), before)


def test_a_run_leaves_no_trace_in_the_next(
    likes_vowels: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    def run(seed: int, **fields: Any) -> tuple[str, list[Any]]:
        short = {"updates": 2, "batch": 8, "heldout_answers": 4, **fields}
        home, context = tmp_path_factory.mktemp("trace"), RecordingContext()
        result = run_iteration(training.spec(home, "ppo", **likes_vowels, seed=seed, hyper=short), context)
        clock = {"tokens_per_s", "rss_mb"}
        said = [(*told, {name: metrics[name] for name in {*metrics} - clock}) for *told, metrics in context.reports]
        return result["checkpoint"]["sha256"], said

    first = run(1)
    assert run(2, rank=2, train_layers=1) != first
    assert run(1) == first
