"""What must be so in every run is asserted while it runs, and recorded: ratio 1, KL 0, masks that count the answers."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from app.runs.hyper import PpoHyper
from tests.workers.conftest import random_model
from tests.workers.ppo.test_rollout import rollout, trunk
from workers.language.model import LanguageModel
from workers.policy import POLICY
from workers.ppo import math as ppo
from workers.ppo import update
from workers.ppo.rollout import Rollout, Trunk
from workers.ppo.update import EXACT, ROUNDED, advantages_of, figures, fresh_figures, learn

MICROS = [[[0, 2], [1, 3]]]


def hyper(**fields: Any) -> PpoHyper:
    return PpoHyper.from_json({"batch": 4, "minibatches": 1, "warmup_steps": 0, **fields}, "tiny")


def rounded(lm: LanguageModel) -> LanguageModel:
    """The same model in bf16."""
    return replace(lm, model=lm.model.to(torch.bfloat16), dtype=torch.bfloat16)


def learned(made: Trunk, found: Rollout) -> dict[str, float]:
    """The figures of one step over two micro-batches."""
    policy = made.lm.adapters[POLICY].parameters()
    return learn(made, found, ppo.whiten(found.logp, found.mask), MICROS, policy, torch.optim.SGD(policy), hyper(), 0)


@pytest.mark.parametrize("lower", [0, 1, 2])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_fresh_policy_has_ratio_1_and_kl_0(family: LanguageModel, kind: torch.dtype, lower: int) -> None:
    made = trunk(rounded(family) if kind == torch.bfloat16 else family, lower, 0.0)
    _, found = rollout(made, MICROS[0])
    # Seen in both formats: no distance at all, because policy and reference run the same blocks on the same batches.
    assert fresh_figures(found)["reference_gap"] <= (1e-6 if kind == torch.float32 else 1e-3)
    assert found.kl() == pytest.approx(0.0, abs=1e-6 if kind == torch.float32 else 1e-2)
    assert learned(made, found)["first_ratio"] == pytest.approx(1.0, abs=1e-6 if kind == torch.float32 else 1e-3)


def test_the_sampler_in_bf16_stays_within_its_bound() -> None:
    for name in ("llama", "gemma3"):
        _, found = rollout(trunk(rounded(random_model(name)), 1, 0.2))
        assert 0 < found.gap < update.SAMPLER_ROUNDED / 3
        assert figures(found)["sampler_gap"] == found.gap


def test_a_fresh_policy_that_is_not_the_base_model_is_refused(tiny: LanguageModel) -> None:
    _, found = rollout(trunk(tiny, 1, 0.0))
    # Up and down alike: the mean of log pi - log pi_ref is 0, and yet the two are not the same.
    sign = torch.where(torch.arange(found.mask.shape[1]) % 2 == 0, 1.0, -1.0)
    with pytest.raises(RuntimeError, match=r"A fresh policy's log-probabilities lie 0\.01 from what they must be"):
        fresh_figures(found._replace(reference=found.reference + 0.01 * sign))
    assert EXACT < 0.01 < ROUNDED


def test_a_mask_that_is_not_the_answers_is_refused(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trunk(tiny, 1, 0.0)
    _, found = rollout(made, MICROS[0])
    assert figures(found)["mask_gap"] == 0.0
    assert figures(found)["tokens"] == sum(len(response) for _, response in found.rows)
    short = found.mask.clone()
    short[0, 0] = False
    with pytest.raises(RuntimeError, match=r"The mask counts \d+ tokens, the answers have \d+\. Nothing was promoted"):
        figures(found._replace(mask=short))
    true = update.token_logprobs

    def without_the_end(lm: LanguageModel, states: Any, rows: Any) -> Any:
        logp, mask = true(lm, states, rows)
        kept = mask.clone()
        kept[0, len(rows[0][1]) - 1] = False
        return logp, kept

    monkeypatch.setattr(update, "token_logprobs", without_the_end)
    with pytest.raises(RuntimeError, match="The mask counts"):
        learned(made, found)


def test_answers_to_one_prompt_are_compared_as_a_whole(tiny: LanguageModel) -> None:
    _, found = rollout(trunk(tiny, 1, 0.2), MICROS[0])
    found = found._replace(score=torch.tensor([1.0, 0.0, -2.0, -2.0]))
    advantages = advantages_of(found, found.score, hyper(advantage="rloo"), 0.0, None)
    # Without a price of KL the leads are 1, -1, 0, 0, the same at every token of an answer, whitened over all tokens.
    tokens = found.lengths().float()
    lead = torch.tensor([1.0, -1.0, 0.0, 0.0])
    mean = (lead * tokens).sum() / tokens.sum()
    spread = (((lead - mean) ** 2 * tokens).sum() / tokens.sum()).sqrt()
    expected = ((lead - mean) / spread)[:, None].expand_as(advantages.values).masked_fill(~found.mask, 0.0)
    torch.testing.assert_close(advantages.values, expected, atol=1e-5, rtol=1e-5)
    assert (advantages.head, advantages.metrics) == (None, {})


def test_the_price_of_kl_is_paid_before_answers_are_compared(tiny: LanguageModel) -> None:
    _, found = rollout(trunk(tiny, 1, 0.2), MICROS[0])
    found = found._replace(score=torch.zeros(4))
    kl = ((found.logp - found.reference).clamp(-10, 10) * found.mask).sum(1)
    values = advantages_of(found, found.score, hyper(advantage="rloo"), 0.5, None).values[:, 0]
    assert bool(values[0] > values[1]) == bool(kl[0] < kl[1])
    assert bool(values[2] > values[3]) == bool(kl[2] < kl[3])
