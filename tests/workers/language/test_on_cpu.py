"""A model arranged for the processor gives what transformers gives, forwards and backwards."""

import pytest
import torch

from tests.workers.conftest import FAMILIES, random_model
from workers.language import on_cpu
from workers.language.adapters import LoraConfig, create, using
from workers.language.logprobs import Row, response_logprobs
from workers.language.model import LanguageModel

ROWS: list[Row] = [([5, 6, 7], [8, 9]), ([10, 11], [12, 13, 14, 15, 2]), ([20], list(range(30, 60)))]


def learned(lm: LanguageModel) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Log-probabilities with an adapter in every block, and what they teach it."""
    adapter = create(lm, "policy", LoraConfig(4, 8), seed=1)
    with torch.no_grad():
        for number, parameter in enumerate(adapter.parameters()):
            parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(number))
    with using(lm, "policy"):
        found, _ = response_logprobs(lm, ROWS)
        return found.detach(), list(torch.autograd.grad(found.sum(), adapter.parameters()))


@pytest.mark.parametrize("kind", FAMILIES)
def test_nothing_but_rounding_changes(kind: str) -> None:
    usual, usual_slopes = learned(random_model(kind, arranged=False))
    arranged, slopes = learned(random_model(kind))
    assert torch.allclose(arranged, usual, atol=1e-5)
    for one, other in zip(slopes, usual_slopes, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def test_no_token_sees_a_later_one() -> None:
    lm = random_model("llama")
    assert lm.model.config._attn_implementation == on_cpu.NAME
    with torch.no_grad():
        whole = lm.trunk(torch.tensor([[5, 6, 7, 8, 9]]), use_cache=False)[0]
        shorter = lm.trunk(torch.tensor([[5, 6, 7, 20, 21]]), use_cache=False)[0]
    assert torch.allclose(whole[:, :3], shorter[:, :3], atol=1e-6)
    assert not torch.allclose(whole[:, 3:], shorter[:, 3:], atol=1e-3)


def test_a_row_longer_than_the_short_way_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = random_model("llama")
    short, slopes = learned(lm)
    monkeypatch.setattr(on_cpu, "LONGEST", 4)
    assert torch.allclose(learned(lm)[0], short, atol=1e-5)
    for one, other in zip(learned(lm)[1], slopes, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
