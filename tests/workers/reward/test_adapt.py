"""One step of adapter training descends the likelihood of the answers, however it is cut into micro-batches."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.workers.reward.snapshots import answer
from tests.workers.reward.test_model import make
from workers.language.model import LanguageModel
from workers.reward import data
from workers.reward.adapt import MICRO_PAIRS, about, learn, plan, schedule
from workers.reward.data import Codec, Preferences
from workers.reward.frozen import FrozenStates, read_states
from workers.reward.loss import expand, smooth
from workers.reward.model import RewardModel

CODEC = Codec(
    encode=lambda messages, text: ([5 + len(messages[-1]["content"])], [*(ord(c) - 60 for c in text), 2]),
    decode=lambda ids: "",
    eos=2,
)
SPACING = np.array([0.4, 1.0])


@pytest.fixture
def preferences() -> Preferences:
    """Answers about five prompts; one pair has two answers, one is a tie, one response stands in two pairs."""
    rows: list[dict[str, Any]] = [answer(f"p{i}", "abc"[: 1 + i % 3], "defg", strength=1 + i % 2) for i in range(8)]
    rows += [answer("p0", "a", "defg", preferred="b"), answer("p0", "a", "h"), answer("p1", "ab", "defg", "tie")]
    return data.from_table(rows, CODEC, 100)


def total_loss(model: RewardModel, preferences: Preferences, centring: float) -> float:
    """The loss that `learn` descends, per answer, written down directly."""
    outcomes = smooth(preferences.outcomes(np.ones(11, bool)), 2, 0.05)
    with torch.no_grad():
        score = model.scores(preferences.rows).double().numpy()
    a, b = score[preferences.first], score[preferences.second]
    value = expand(a - b, SPACING, outcomes).value + centring * ((a + b) ** 2).sum()
    return float(value / outcomes.weight.sum())


def nothing_kept(lm: LanguageModel) -> FrozenStates:
    return FrozenStates(torch.zeros(1), None, {})


@pytest.mark.parametrize("size", [1, 3, 9])
def test_the_gradient_is_that_of_finite_differences(tiny: LanguageModel, preferences: Preferences, size: int) -> None:
    model = make(tiny, 1)
    weights = torch.nn.Parameter(model.weights * 0.05)
    (path, (_, b)) = next(iter(sorted(tiny.adapters["reward"].pairs.items())))
    outcomes = smooth(preferences.outcomes(np.ones(11, bool)), 2, 0.05)
    pairs = np.arange(len(preferences.first))
    step = [pairs[start : start + size] for start in range(0, len(pairs), size)]

    def now() -> RewardModel:
        return replace(model, weights=weights)

    loss = learn(now, preferences, nothing_kept(tiny), outcomes, SPACING, step, 0.01)
    assert loss == pytest.approx(total_loss(now(), preferences, 0.0), abs=1e-5)
    assert weights.grad is not None
    assert b.grad is not None, path
    h = 1e-2
    for parameter, place in [(weights, (3,)), (weights, (200,)), (b, (0, 0)), (b, (5, 2))]:
        found = float(parameter.grad[place])  # type: ignore[index]
        around = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[place] += sign * h
            around.append(total_loss(now(), preferences, 0.01))
            with torch.no_grad():
                parameter[place] -= sign * h
        assert (around[0] - around[1]) / (2 * h) == pytest.approx(found, rel=0.02, abs=2e-4)


def test_micro_batches_and_their_order_change_no_gradient(tiny: LanguageModel, preferences: Preferences) -> None:
    outcomes = smooth(preferences.outcomes(np.ones(11, bool)), 2, 0.05)
    found = []
    for step in ([range(9)], [[8, 7], [6, 5, 4, 3], [2, 1, 0]], [[pair] for pair in range(9)]):
        model = make(tiny, 1)
        pairs = [np.array(micro) for micro in step]
        loss = learn(lambda model=model: model, preferences, nothing_kept(tiny), outcomes, SPACING, pairs, 0.01)  # type: ignore[misc]
        found.append((loss, [one.grad for one in tiny.adapters["reward"].parameters()]))
    for loss, gradients in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-6)
        for one, other in zip(gradients, found[0][1], strict=True):
            assert one is not None
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_kept_states_give_the_same_gradient(tiny: LanguageModel, preferences: Preferences) -> None:
    gradients = []
    for kept in (nothing_kept(tiny), read_states(tiny, preferences.rows, 1, ("mean",), 1, lambda done, rows: None)):
        model = make(tiny, 1)
        outcomes = preferences.outcomes(np.ones(11, bool))
        learn(lambda model=model: model, preferences, kept, outcomes, SPACING, [np.arange(9)], 0.0)  # type: ignore[misc]
        gradients.append([one.grad for one in tiny.adapters["reward"].parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_outcomes_about_some_pairs_are_renumbered(preferences: Preferences) -> None:
    found = about(preferences.outcomes(np.ones(11, bool)), np.array([5, 0]))
    assert found.pair.tolist() == [1, 0, 1]


def test_no_prompt_is_split_over_two_steps() -> None:
    prompt = np.array([0, 0, 0, 1, 2, 2, 3, 4, 4, 4, 4, 4, 4])
    steps = plan(prompt, np.arange(13), batch=4, seed=1)
    seen = [{int(prompt[pair]) for micro in step for pair in micro} for step in steps]
    assert sorted(one for step in seen for one in step) == [0, 1, 2, 3, 4]
    assert sorted(int(pair) for step in steps for micro in step for pair in micro) == list(range(13))
    assert all(sum(len(micro) for micro in step[:-1]) < 4 for step in steps)
    assert max(len(micro) for step in steps for micro in step) <= MICRO_PAIRS - 1 + 6


def test_the_step_size_rises_and_falls() -> None:
    found = [schedule(step, 100) for step in (0, 4, 50, 99)]
    assert found == pytest.approx([0.2, 0.96, 0.5, 0.05])
