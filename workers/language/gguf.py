"""SmolLM2's GGUF file as an ordinary transformers directory, bit for bit what transformers itself would read."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader, dequantize
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

CONTROL_TOKEN = 3
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(gguf_file: Path, target: Path) -> None:
    """Write the GGUF file as a transformers directory: bf16 safetensors, config, tokenizer with its chat template."""
    reader = GGUFReader(gguf_file)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    target.mkdir()
    config = _config(facts)
    weights = {}
    for number, tensor in enumerate(reader.tensors, start=1):
        name, weight = _weight(tensor, config)
        weights[name] = weight
        _show_progress(number, len(reader.tensors))
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(target)
    generation = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=0)  # type: ignore[no-untyped-call]
    generation.save_pretrained(target)
    _tokenizer(facts).save_pretrained(target)
    for path in target.iterdir():
        path.chmod(0o644)
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _show_progress(done: int, total: int) -> None:
    filled = 30 * done // total
    bar = "#" * filled + "." * (30 - filled)
    sys.stderr.write(f"\rConverting the model [{bar}] {done}/{total}" + ("\n" if done == total else ""))
    sys.stderr.flush()


def _config(facts: dict[str, Any]) -> LlamaConfig:
    config = LlamaConfig(
        vocab_size=facts["llama.vocab_size"],
        hidden_size=facts["llama.embedding_length"],
        intermediate_size=facts["llama.feed_forward_length"],
        num_hidden_layers=facts["llama.block_count"],
        num_attention_heads=facts["llama.attention.head_count"],
        num_key_value_heads=facts["llama.attention.head_count_kv"],
        max_position_embeddings=facts["llama.context_length"],
        rms_norm_eps=facts["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    config.architectures = ["LlamaForCausalLM"]
    config.dtype = torch.bfloat16
    return config


def _weight(tensor: Any, config: LlamaConfig) -> tuple[str, torch.Tensor]:
    """Return one tensor under its transformers name, in bf16, with llama.cpp's head order undone."""
    array = dequantize(tensor.data, tensor.tensor_type)
    part = tensor.name.split(".")[-2]
    if part in ("attn_q", "attn_k"):
        # llama.cpp interleaves the two rotary halves of every head; transformers keeps them one after the other.
        heads = int((config.num_attention_heads if part == "attn_q" else config.num_key_value_heads) or 1)
        array = array.reshape(heads, array.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(array.shape)
    if tensor.name.startswith("blk."):
        name = f"model.layers.{tensor.name.split('.')[1]}.{LAYER_NAMES[part]}.weight"
    else:
        name = {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}[part]
    return name, torch.tensor(array).to(torch.bfloat16)


def _tokenizer(facts: dict[str, Any]) -> PreTrainedTokenizerFast:
    tokens: list[str] = facts["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in facts["tokenizer.ggml.merges"]]
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    # "smollm" in GGUF's words: every digit alone, then bytes.
    digits = pre_tokenizers.Digits(individual_digits=True)
    core.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    core.decoder = decoders.ByteLevel()
    kinds = zip(tokens, facts["tokenizer.ggml.token_type"], strict=True)
    core.add_special_tokens([AddedToken(token, special=True) for token, kind in kinds if kind == CONTROL_TOKEN])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        bos_token=tokens[1],
        eos_token=tokens[2],
        unk_token=tokens[0],
        pad_token=tokens[0],
        chat_template=facts["tokenizer.chat_template"],
        model_max_length=facts["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
