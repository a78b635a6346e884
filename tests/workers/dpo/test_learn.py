"""One step of DPO raises what people chose, however it is cut into micro-batches and wherever the adapters begin."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from app.runs.hyper import DpoHyper
from workers.dpo import reference as reference_module
from workers.dpo.choices import Choices
from workers.dpo.reference import Reference, read_reference
from workers.dpo.train import Unseen, check_fresh, gate, judge, leads_of, learn
from workers.language.adapters import LoraConfig, create, using
from workers.language.layers import block_count
from workers.language.logprobs import response_logprobs
from workers.language.model import LanguageModel
from workers.policy import POLICY

# Three responses to one prompt, two to another; the end token and the pad token stand inside.
ROWS = [
    ([1, 40, 2, 3], [50, 51, 2]),
    ([1, 40, 2, 3], [0]),
    ([1, 40, 2, 3], [9, 9]),
    ([1, 7], [2, 0, 2, 0, 70]),
    ([1, 7], [8]),
]
CHOICES = Choices(
    np.array([0, 1, 2, 2]), np.array([0, 2, 3, 3]), np.array([1, 1, 4, 4]), np.array([0.0, 2.0, 1.0, 0.0])
)
EVERY = [np.array([0, 1, 2])]


def hyper(**fields: Any) -> DpoHyper:
    return DpoHyper.from_json(fields, "tiny")


def read(lm: LanguageModel, lower: int = 0, moved: float = 0.0) -> Reference:
    """The reference, and a policy with adapters from block `lower` on, `moved` away from it."""
    adapter = create(lm, POLICY, LoraConfig(4, 8, layers=tuple(range(lower, block_count(lm)))), seed=2)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)) * moved)
    return read_reference(lm, ROWS, lower, lambda done, rows: None)


def totals(lm: LanguageModel, adapter: str | None) -> torch.Tensor:
    """Log-probability of every response, one at a time."""
    with torch.no_grad(), using(lm, adapter):
        return torch.cat([response_logprobs(lm, [row])[0].sum(1) for row in ROWS])


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("lower", [0, 1, 2])
def test_policy_and_reference_are_the_model_with_and_without_its_adapter(
    family: LanguageModel, monkeypatch: pytest.MonkeyPatch, lower: int, kept: bool
) -> None:
    if not kept:
        monkeypatch.setattr(reference_module, "MOST_KEPT", 0)
    found = read(family, lower, moved=0.2)
    assert bool(found.kept) == (kept and lower > 0)
    torch.testing.assert_close(found.logp, totals(family, None), atol=1e-4, rtol=0)
    with torch.no_grad():
        logp, tokens = found.policy_logp([4, 0, 3])
    torch.testing.assert_close(logp, totals(family, POLICY)[[4, 0, 3]], atol=1e-4, rtol=0)
    assert tokens == 1 + 3 + 5
    assert (found.logp - totals(family, POLICY)).abs().max() > 0.01


def test_a_lead_is_the_difference_of_implicit_rewards(tiny: LanguageModel) -> None:
    made = read(tiny, 1, moved=0.2)
    gain = totals(tiny, POLICY) - totals(tiny, None)
    expected = 0.5 * torch.stack([gain[0] - gain[1], gain[2] - gain[1], gain[3] - gain[4], gain[3] - gain[4]])
    with torch.no_grad():
        torch.testing.assert_close(leads_of(made, CHOICES, 0.5), expected, atol=1e-4, rtol=0)
    # -log sigmoid by hand; what only judges knows neither slips nor strength.
    found = judge(made, CHOICES, hyper(beta=0.5, label_smoothing=0.3, strength_margin=1.0))
    assert found.loss == pytest.approx(float(-expected.sigmoid().log().mean()), abs=1e-5)
    assert found.margin == pytest.approx(float(expected.mean()), rel=3e-6)
    assert found.accuracy == float((expected > 0).float().mean())
    # What teaches counts three in ten as slips.
    slips = -0.7 * expected.sigmoid().log() - 0.3 * (-expected).sigmoid().log()
    assert learn(made, CHOICES, EVERY, hyper(beta=0.5, label_smoothing=0.3))["loss"] == pytest.approx(
        float(slips.mean()), abs=1e-5
    )


def test_stronger_choices_are_asked_for_more(tiny: LanguageModel) -> None:
    # A fresh policy leads by nothing; the choices are 0, 2, 1 and 0 steps above slightly better, 0.5 nats each.
    found = learn(read(tiny), CHOICES, EVERY, hyper(strength_margin=0.5, label_smoothing=0.0))
    by_hand = [np.log1p(np.exp(margin)) for margin in (0.0, 1.0, 0.5, 0.0)]
    assert found["loss"] == pytest.approx(np.mean(by_hand), abs=1e-5)


def test_a_step_raises_what_was_chosen_over_what_was_not(tiny: LanguageModel) -> None:
    made, settings = read(tiny), hyper(beta=0.1)
    optimiser = torch.optim.AdamW(tiny.adapters[POLICY].parameters(), lr=2e-3)
    first = learn(made, CHOICES, EVERY, settings)
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-6)
    for _ in range(8):
        optimiser.step()
        optimiser.zero_grad()
        last = learn(made, CHOICES, EVERY, settings)
    assert last["loss"] < 0.67
    assert last["accuracy"] == 1.0
    assert last["margin"] > 0.05


@pytest.mark.parametrize("steps", [[[0], [1], [2]], [[2, 1], [0]]])
def test_micro_batches_change_no_gradient(tiny: LanguageModel, steps: list[list[int]]) -> None:
    gradients, figures = [], []
    for step in (EVERY, [np.array(pairs) for pairs in steps]):
        made = read(tiny, 1, moved=0.1)
        figures.append(learn(made, CHOICES, step, hyper(strength_margin=0.5)))
        gradients.append([parameter.grad for parameter in tiny.adapters[POLICY].parameters()])
    assert figures[0] == pytest.approx(figures[1], abs=1e-5)
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


def test_two_people_who_disagree_pull_a_fresh_policy_nowhere(tiny: LanguageModel) -> None:
    apart = Choices(np.array([0, 0]), np.array([0, 1]), np.array([1, 0]), np.zeros(2))
    learn(read(tiny), apart, [np.array([0])], hyper())
    for parameter in tiny.adapters[POLICY].parameters():
        assert parameter.grad is not None
        assert float(parameter.grad.abs().max()) < 1e-6


def test_a_policy_that_is_not_the_reference_at_first_is_refused(tiny: LanguageModel) -> None:
    assert check_fresh(read(tiny), CHOICES)["reference_gap"] < 1e-5
    with pytest.raises(RuntimeError, match=r"A fresh policy's log-probabilities lie .* from what they must be"):
        check_fresh(read(tiny, moved=0.2), CHOICES)


@pytest.mark.parametrize("lower", [0, 2])
def test_in_bf16_a_fresh_policy_is_the_reference_within_rounding(family: LanguageModel, lower: int) -> None:
    rounded = replace(family, model=family.model.to(torch.bfloat16), dtype=torch.bfloat16)
    # Seen with longer answers: 0.0001 nats per token, because policy and reference are read in batches of other shapes.
    assert check_fresh(read(rounded, lower), CHOICES)["reference_gap"] < 2e-3


def test_a_mask_that_loses_a_token_is_refused(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    made = read(tiny)
    with torch.no_grad():
        logp, tokens = made.policy_logp([0, 1])
    monkeypatch.setattr(Reference, "policy_logp", lambda self, rows: (logp, tokens - 1))
    with pytest.raises(RuntimeError, match=r"The mask counts 3 tokens, the answers have 4\. Nothing was promoted"):
        leads_of(made, CHOICES.where(np.array([True, False, False, False])), 0.1)


GOOD = {"accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.79, "n_heldout": 90.0, "kl": 2.0, "best_step": 8.0}


@pytest.mark.parametrize(
    ("change", "passed", "sentence"),
    [
        ({}, True, "The policy agrees with 70% [60%, 79%] of 90 unseen choices, 2.0 nats from the base model."),
        (
            {"best_step": 0.0},
            False,
            "No point within the KL budget predicts unseen choices better than the start. Label more.",
        ),
        (
            {"accuracy_low": 0.5},
            False,
            "What the policy learned may be chance: it agrees with 70% [50%, 79%] of 90 unseen choices. Label more and "
            "train again.",
        ),
        (
            {"kl": 7.0},
            False,
            "The policy is 7.0 nats from the base model; the budget is 6. Raise beta and start the run again.",
        ),
    ],
)
def test_the_gate_says_why(change: dict[str, float], passed: bool, sentence: str) -> None:
    assert gate({**GOOD, **change}, hyper()) == (passed, sentence)


def test_what_is_reported_of_unseen_choices_is_named_so() -> None:
    assert Unseen(0.6, 0.7, 0.1).metrics() == {"loss_heldout": 0.6, "accuracy_heldout": 0.7, "margin_heldout": 0.1}
