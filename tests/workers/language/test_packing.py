"""Rows that share their beginnings, each different token computed once, say and teach what padded rows do."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.workers.conftest import random_model
from tests.workers.language.test_adapters import trained
from workers.language import on_cpu, packing
from workers.language.adapters import LoraConfig, using
from workers.language.layers import LAST, states_above, states_at
from workers.language.logprobs import Row, response_logprobs
from workers.language.model import LanguageModel
from workers.language.packing import layout_of

# Two answers to one prompt that begin alike, one inside another, a prompt apart after three tokens, one of its own,
# and the first row once more. Eleven tokens at most: the windows of some families hold twelve.
ROWS: list[Row] = [
    ([1, 40, 41, 42, 43], [50, 51, 52, 53]),
    ([1, 40, 41, 42, 43], [50, 51, 60, 61, 2]),
    ([1, 40, 41, 42, 43], [50, 51]),
    ([1, 40, 41, 70], [71, 2]),
    ([9], [50, 51]),
    ([1, 40, 41, 42, 43], [50, 51, 52, 53]),
]
IDS = [prompt + response for prompt, response in ROWS]


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Pads all rows from the moment it is called."""
    return lambda: monkeypatch.setattr(packing, "layout_of", lambda lm, rows: None)


def learned(lm: LanguageModel, rows: list[Row] = ROWS, lower: int | None = None) -> list[Tensor]:
    """Log-probabilities under an adapter, each weighted otherwise, and what they teach it."""
    shape = LoraConfig(4, 8, layers=None if lower is None else tuple(range(lower, 3)))
    adapter = trained(lm, "policy", shape)
    with using(lm, "policy"):
        found, mask = response_logprobs(lm, rows)
        worth = torch.arange(1.0, found.numel() + 1).view_as(found).sin() * mask
        return [found.detach(), *torch.autograd.grad((found * worth).sum(), adapter.parameters())]


def alike(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) > 1 and all(
        float((a - b).abs().max()) <= 1e-5 * max(1.0, float(b.abs().max())) for a, b in zip(one, other, strict=True)
    )


def test_shared_beginnings_change_no_log_probability_and_no_gradient(
    family: LanguageModel, apart: Callable[[], None]
) -> None:
    together = learned(family)
    apart()
    assert alike(together, learned(family))


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_states_of_every_layer_are_those_of_padded_rows(
    family: LanguageModel, apart: Callable[[], None], layer: int
) -> None:
    def found() -> list[Tensor]:
        states = states_at(family, ROWS, [0, layer, LAST])
        above = states_above(family, ROWS, states[layer], layer)
        real = torch.arange(above.shape[1]) < torch.tensor([len(row) for row in IDS])[:, None]
        return [one[real] for one in (states[0], states[layer], states[LAST], above)]

    together = found()
    apart()
    assert alike(together, found())


@pytest.mark.parametrize("lower", [1, 2])
def test_adapters_above_learn_the_same_from_states_that_are_there(
    family: LanguageModel, apart: Callable[[], None], lower: int
) -> None:
    adapter = trained(family, "upper", LoraConfig(4, 8, layers=tuple(range(lower, 3))))
    states = states_at(family, ROWS, [lower])[lower]

    def taught() -> list[Tensor]:
        with using(family, "upper"):
            last = states_above(family, ROWS, states, lower)
        own = [last[index, len(prompt) : len(prompt) + len(one)] for index, (prompt, one) in enumerate(ROWS)]
        worth = torch.cat(own) * torch.arange(32.0).sin()
        return list(torch.autograd.grad(worth.sum(), adapter.parameters()))

    together = taught()
    apart()
    assert alike(together, taught())


def test_rows_too_long_for_the_short_attention_are_the_same(
    apart: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_cpu, "LONGEST", 4)
    lm = random_model("llama")
    together = learned(lm)
    apart()
    assert alike(together, learned(lm))


def test_every_different_token_is_computed_once_and_knows_its_place() -> None:
    layout = layout_of(random_model("llama"), IDS)
    assert layout is not None
    # 9 tokens of the first row, 3 more of the second, 2 of the fourth after its third, 3 of the fifth.
    assert layout.ids.shape == layout.positions.shape == (1, 9 + 3 + 3 + 3)
    for row, ids in enumerate(IDS):
        at = layout.place[row, : len(ids)]
        assert layout.ids[0, at].tolist() == ids
        assert layout.positions[0, at].tolist() == list(range(len(ids)))
        for begin in range(1, len(ids) + 1):
            same = [other for other in range(len(IDS)) if IDS[other][:begin] == ids[:begin]]
            assert len({int(layout.place[other, begin - 1]) for other in same}) == 1
    assert layout.place.flatten()[layout.owner].tolist() == list(range(18))


def test_whole_rows_come_back_and_a_shared_token_learns_from_all_its_rows() -> None:
    layout = layout_of(random_model("llama"), IDS)
    assert layout is not None
    packed = torch.randn(18, 4, requires_grad=True)
    whole = layout.unpack(packed)
    assert torch.equal(layout.pack(whole), packed)
    real = torch.arange(10) < torch.tensor([len(row) for row in IDS])[:, None]
    torch.autograd.backward(whole[real].sum())
    times = torch.bincount(layout.place[real], minlength=18)
    assert packed.grad is not None
    assert torch.equal(packed.grad, times[:, None].expand(18, 4).float())


def test_models_that_are_not_known_to_allow_it_are_padded() -> None:
    lm = random_model("llama")
    assert layout_of(lm, IDS) is not None
    # Nothing to save.
    assert layout_of(lm, [[1, 2, 3], [4, 5, 6]]) is None
    # Other families, attention that is not ours, as on a GPU, and rows longer than a window.
    assert layout_of(random_model("gemma2"), IDS) is None
    assert layout_of(random_model("llama", arranged=False), IDS) is None
    windowed = random_model("gemma3")
    assert layout_of(windowed, [[1] * 12, [2]]) is not None
    assert layout_of(windowed, [[1] * 13, [2]]) is None
    lm.model.config.model_type = "another"
    assert layout_of(lm, IDS) is None
