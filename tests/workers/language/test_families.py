"""Any causal language model of the hub that keeps to the common parts can be used; anything else gets a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertLMHeadModel,
    CohereConfig,
    CohereForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedTokenizerFast,
)

from app.settings import settings
from tests.workers.conftest import FAMILIES, random_model
from workers.language import tiny as tiny_model
from workers.language.decode import generate
from workers.language.errors import ConversationRefused, ModelUnusable
from workers.language.logprobs import response_logprobs
from workers.language.model import LanguageModel, load
from workers.language.sampling import Settings
from workers.language.tokens import encode_prompt, encode_response

HELLO = [{"role": "user", "content": "Hello"}]
SMALL: dict[str, Any] = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cache_dir", tmp_path / "cache")


def save(home: Path, network: Any, tokenizer: Any = None) -> str:
    """Write a model as transformers does and return its directory."""
    network.save_pretrained(home / "model")
    (tokenizer or tiny_model.tokenizer()).save_pretrained(home / "model")
    return str(home / "model")


def change(file: Path, **facts: Any) -> None:
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, **facts}))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_family_is_read_from_a_directory(tmp_path: Path, name: str, dtype: str) -> None:
    lm = load(save(tmp_path, random_model(name).model), dtype)
    ((found,),) = generate(lm, [encode_prompt(lm, HELLO)], 1, Settings(max_tokens=6), seed=1)
    row = [(found.prompt_ids, found.token_ids)]
    ours = response_logprobs(lm, row)[0][0]
    whole = lm.model(torch.tensor([found.prompt_ids + found.token_ids])).logits[0].float().log_softmax(-1)
    start = len(found.prompt_ids) - 1
    theirs = torch.stack([whole[start + place, token] for place, token in enumerate(found.token_ids)])
    torch.testing.assert_close(ours, theirs, atol=1e-4 if dtype == "float32" else 0.05, rtol=0)


def test_a_window_counts_words_and_not_the_padding_between_them() -> None:
    # Six shared tokens, then rests of 1 and 14 tokens: padding the short one makes more columns than its window has.
    lm, shared = random_model("gemma3"), [1, 50, 51, 52, 2, 3]
    prompts, free = [[*shared, 40], [*shared, *range(60, 74)]], Settings(max_tokens=5)
    together = generate(lm, prompts, 1, free, seed=9)
    for index, prompt in enumerate(prompts):
        ((alone,),) = generate(lm, [prompt], 1, free, seed=9 + index)
        assert together[index][0].token_ids == alone.token_ids
        torch.testing.assert_close(
            torch.tensor(together[index][0].logprobs), torch.tensor(alone.logprobs), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("pad", [None, "<|im_end|>"])
def test_a_pad_token_that_is_missing_or_the_end_token_changes_nothing(tmp_path: Path, pad: str | None) -> None:
    tokenizer = tiny_model.tokenizer()
    tokenizer.pad_token = pad
    lm, usual = load(save(tmp_path, random_model("llama").model, tokenizer), "float32"), random_model("llama")
    assert lm.tokenizer.pad_token == pad
    prompts = [encode_prompt(lm, [{"role": "user", "content": text}]) for text in ("Hello", "A longer one?")]
    assert prompts == [encode_prompt(usual, [{"role": "user", "content": text}]) for text in ("Hello", "A longer one?")]
    assert encode_response(lm, "Yes.") == encode_response(usual, "Yes.")
    here, there = (generate(one, prompts, 2, Settings(max_tokens=8), seed=4) for one in (lm, usual))
    assert [one.token_ids for two in here for one in two] == [one.token_ids for two in there for one in two]
    rows = [(one.prompt_ids, one.token_ids) for two in here for one in two]
    assert torch.equal(response_logprobs(lm, rows)[0], response_logprobs(usual, rows)[0])


def test_without_a_chat_template_texts_begin_as_the_tokenizer_begins_them(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_model.tokenizer()
    tokenizer.chat_template = None
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        "<|im_start|> $0", special_tokens=[("<|im_start|>", 1)]
    )
    lm = load(
        save(
            tmp_path,
            random_model("llama").model,
            PreTrainedTokenizerFast(
                tokenizer_object=tokenizer.backend_tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>"
            ),
        )
    )
    assert lm.tokenizer.decode(encode_prompt(lm, HELLO)) == "<|im_start|>User: Hello\n\nAssistant:"


def test_a_template_that_takes_no_system_turn_says_so_when_one_comes(tmp_path: Path) -> None:
    tokenizer = tiny_model.tokenizer()
    refuse = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    tokenizer.chat_template = refuse + str(tokenizer.chat_template)
    lm = load(save(tmp_path, random_model("llama").model, tokenizer))
    with pytest.raises(ConversationRefused, match="no system role"):
        encode_prompt(lm, [{"role": "system", "content": "Be kind."}, *HELLO])


def test_an_answer_from_elsewhere_is_closed_as_the_template_closes_turns(tmp_path: Path) -> None:
    # As with Qwen, Llama 3 and Gemma: the end of a text (0) is another token than the end of a turn (2).
    path = save(tmp_path, random_model("llama").model)
    change(tmp_path / "model" / "generation_config.json", eos_token_id=[0, 2])
    change(tmp_path / "model" / "tokenizer_config.json", eos_token="<|pad|>")
    lm = load(path)
    assert (lm.eos, lm.end) == (frozenset({0, 2}), 2)
    assert encode_response(lm, "Yes.")[-1] == 2
    # Without a template, the end of a text closes an answer.
    (tmp_path / "model" / "chat_template.jinja").unlink()
    assert load(path).end == 0


def test_a_template_that_hides_answers_says_nothing_about_their_end(tmp_path: Path) -> None:
    tokenizer = tiny_model.tokenizer()
    tokenizer.chat_template = "{% for m in messages if m['role'] == 'user' %}<|im_start|>{{ m['content'] }}{% endfor %}"
    assert load(save(tmp_path, random_model("llama").model, tokenizer)).eos == frozenset({2})


def test_a_template_that_takes_no_turns_at_all_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_model.tokenizer()
    tokenizer.chat_template = "{{ raise_exception('documents only') }}"
    with pytest.raises(ModelUnusable, match=r"does not accept a user's turn and an answer \(documents only\)"):
        load(save(tmp_path, random_model("llama").model, tokenizer))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    network = LlamaForCausalLM(LlamaConfig(**{**SMALL, "vocab_size": 50}, intermediate_size=48, num_attention_heads=4))
    with pytest.raises(ModelUnusable, match=r"knows 99 tokens and the model only 50\. Put the tokenizer"):
        load(save(tmp_path, network))


def scaled_afterwards() -> Any:
    return CohereForCausalLM(CohereConfig(**SMALL, intermediate_size=48, num_attention_heads=4, logit_scale=0.5))


def without_a_cache() -> Any:
    return MambaForCausalLM(MambaConfig(**SMALL, state_size=4))


def seeing_all() -> Any:
    return BertLMHeadModel(BertConfig(**SMALL, intermediate_size=48, num_attention_heads=4, is_decoder=False))


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (scaled_afterwards, "changes its logits after the output layer. Choose a model without that"),
        (without_a_cache, r"is built in a way that cannot be used here .* Choose a decoder-only transformer"),
        (seeing_all, "Choose a"),
    ],
)
def test_a_model_of_another_kind_is_refused_with_a_sentence(tmp_path: Path, network: Any, sentence: str) -> None:
    torch.manual_seed(3)
    made = network()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    path = save(tmp_path, made)
    change(tmp_path / "model" / "generation_config.json", eos_token_id=2)
    with pytest.raises(ModelUnusable, match=sentence):
        load(path)


def test_tiny_passes_the_trial_too(shared_tiny: LanguageModel) -> None:
    from workers.language import probe

    probe.check(shared_tiny)
