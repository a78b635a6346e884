"""LoRA adapters hang in a frozen model, leave no trace when they are off, and are PEFT's to the last digit."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.workers.conftest import random_model
from workers.language import adapters
from workers.language.adapters import AdapterUnfit, LoraConfig, using
from workers.language.model import LanguageModel

# PEFT itself still asks transformers under an old name.
peft_warns = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
IDS = torch.tensor([[1, 40, 41, 42, 2, 50, 51]])


def logits(lm: LanguageModel) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = lm.model(IDS).logits
    return output


def trained(lm: LanguageModel, name: str, config: LoraConfig | None = None, seed: int = 0) -> adapters.Adapter:
    """An adapter whose B is not zero any more."""
    adapter = adapters.create(lm, name, config or LoraConfig(rank=4, alpha=8), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for _, b in adapter.pairs.values():
            b.copy_(torch.randn(b.shape, generator=generator) * 0.3)
    return adapter


def test_no_adapter_is_the_base_model_bit_for_bit(family: LanguageModel) -> None:
    base = logits(family)
    trained(family, "policy")
    with using(family, "policy"):
        assert not torch.allclose(logits(family), base, atol=1e-3)
        with using(family, None):
            assert torch.equal(logits(family), base)
        assert not torch.allclose(logits(family), base, atol=1e-3)
    assert torch.equal(logits(family), base)


def test_a_fresh_adapter_changes_nothing(family: LanguageModel) -> None:
    base = logits(family)
    adapters.create(family, "policy", LoraConfig())
    with using(family, "policy"):
        assert torch.equal(logits(family), base)


def test_one_layer_adds_scale_times_b_of_a() -> None:
    lm = random_model("llama")
    adapter = trained(lm, "policy", LoraConfig(rank=2, alpha=6, targets=("down_proj",), layers=(1,)))
    ((path, (a, b)),) = adapter.pairs.items()
    assert path == "model.layers.1.mlp.down_proj"
    x = torch.randn(1, 5, 48)
    layer = lm.model.get_submodule(path)
    plain = layer(x)
    with using(lm, "policy"):
        adapted = layer(x)
    # alpha 6 over rank 2 is 3.
    assert torch.allclose(adapted, plain + 3 * (x @ a.T @ b.T), atol=1e-5)


def test_every_linear_layer_of_the_blocks_is_a_target_and_nothing_else(family: LanguageModel) -> None:
    adapter = adapters.create(family, "policy", LoraConfig())
    names = {path.rsplit(".", 1)[1] for path in adapter.pairs}
    if family.name == "gpt2":
        assert names == {"c_attn", "c_proj", "c_fc"}
        assert len(adapter.pairs) == 3 * 4
    else:
        assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
        assert len(adapter.pairs) == 3 * 7


def test_gradients_reach_the_adapter_and_not_the_base(family: LanguageModel) -> None:
    adapter = adapters.create(family, "policy", LoraConfig())
    with using(family, "policy"):
        family.model(IDS).logits.square().mean().backward()
    assert all(parameter.grad is None for parameter in family.model.parameters())
    # B is zero at first, so only B has a gradient that is not zero.
    for path, (_, b) in adapter.pairs.items():
        assert b.grad is not None, path
        assert b.grad.abs().sum() > 0, path


def test_gradients_are_those_of_the_formula_written_down(family: LanguageModel) -> None:
    """Those of A, of B and of what goes in, for each kind of layer."""
    adapter = trained(family, "policy", LoraConfig(rank=2, alpha=6))
    for path, (a, b) in adapter.pairs.items():
        layer = family.model.get_submodule(path)
        x = torch.randn(2, 5, a.shape[1], requires_grad=True)
        with using(family, "policy"):
            ours = layer(x)
        theirs = layer(x) + 3 * (x @ a.T @ b.T)
        worth = torch.randn_like(ours)
        assert torch.allclose(ours, theirs, atol=1e-5)
        found, expected = (torch.autograd.grad((one * worth).sum(), [x, a, b]) for one in (ours, theirs))
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-5), path


def test_in_bf16_what_is_added_is_rounded_no_more_than_the_sum(family: LanguageModel) -> None:
    lm = replace(family, model=family.model.bfloat16(), dtype=torch.bfloat16)
    adapter = trained(lm, "policy", LoraConfig(rank=4, alpha=8))
    assert {parameter.dtype for parameter in adapter.parameters()} == {torch.float32}
    for path, (a, b) in adapter.pairs.items():
        layer, x = lm.model.get_submodule(path), torch.randn(64, a.shape[1]).bfloat16()
        with torch.no_grad():
            exact = copy.deepcopy(layer).double()(x.double()) + 2 * (x.double() @ a.double().T @ b.double().T)
            with using(lm, "policy"):
                found = layer(x)
        # A bf16 number is right to one part in 256; B's output, made of three such, to one in 85.
        assert float((found - exact).abs().mean()) < float(exact.abs().mean()) / 85, path
        with using(lm, "policy"):
            grown = torch.autograd.grad(layer(x).float().sum(), [a, b])
        assert {one.dtype for one in grown} == {torch.float32}


@peft_warns
@pytest.mark.parametrize("config", [LoraConfig(rank=4, alpha=8), LoraConfig(rank=3, alpha=5, layers=(1, 2))])
def test_peft_reads_our_files_and_computes_the_same(family: LanguageModel, config: LoraConfig, tmp_path: Path) -> None:
    from peft import PeftModel

    trained(family, "policy", config)
    with using(family, "policy"):
        ours = logits(family)
    for name, data in adapters.files(family, "policy").items():
        (tmp_path / name).write_bytes(data)
    theirs = PeftModel.from_pretrained(random_model(family.name).model, str(tmp_path))
    with torch.no_grad():
        assert torch.allclose(theirs(IDS).logits, ours, atol=1e-5)


@peft_warns
def test_we_read_peft_files_and_compute_the_same(family: LanguageModel, tmp_path: Path) -> None:
    import peft

    conv1d = family.name == "gpt2"
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, fan_in_fan_out=conv1d
    )
    theirs = peft.get_peft_model(random_model(family.name).model, config)
    theirs.save_pretrained(str(tmp_path))
    files = {name: (tmp_path / name).read_bytes() for name in (adapters.WEIGHTS, adapters.CONFIG)}
    adapters.attach(family, "policy", files)
    with using(family, "policy"), torch.no_grad():
        assert torch.allclose(theirs(IDS).logits, logits(family), atol=1e-5)


def test_what_was_saved_is_read_back_the_same(tiny: LanguageModel) -> None:
    trained(tiny, "policy")
    saved = adapters.files(tiny, "policy")
    adapters.attach(tiny, "copy", saved)
    again = adapters.files(tiny, "copy")
    assert again == saved
    assert not any(parameter.requires_grad for parameter in tiny.adapters["copy"].parameters())


def test_the_seed_decides_the_fresh_weights(tiny: LanguageModel) -> None:
    first, same, other = (adapters.create(tiny, "policy", LoraConfig(), seed) for seed in (1, 1, 2))
    assert torch.equal(first.parameters()[0], same.parameters()[0])
    assert not torch.equal(first.parameters()[0], other.parameters()[0])


def test_an_adapter_of_another_model_is_refused(tiny: LanguageModel) -> None:
    trained(tiny, "policy")
    with pytest.raises(AdapterUnfit, match="does not fit the model gpt2"):
        adapters.attach(random_model("gpt2"), "policy", adapters.files(tiny, "policy"))


def test_what_is_no_plain_lora_is_refused(tiny: LanguageModel) -> None:
    trained(tiny, "policy")
    saved = adapters.files(tiny, "policy")
    dora = json.dumps({**json.loads(saved[adapters.CONFIG]), "use_dora": True}).encode()
    with pytest.raises(AdapterUnfit, match="Only plain LoRA"):
        adapters.attach(tiny, "other", {**saved, adapters.CONFIG: dora})
    with pytest.raises(AdapterUnfit, match="cannot be read"):
        adapters.attach(tiny, "other", {adapters.CONFIG: saved[adapters.CONFIG]})


def test_an_exception_takes_the_adapter_off(tiny: LanguageModel) -> None:
    base = logits(tiny)
    trained(tiny, "policy")
    with pytest.raises(RuntimeError, match="stop"), using(tiny, "policy"):
        raise RuntimeError("stop")
    assert torch.equal(logits(tiny), base)
