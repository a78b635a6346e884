"""Small models for tests: `tiny` itself, and random ones of several families with its tokenizer."""

import torch

# A test's few thousand numbers are not worth a second thread, and two busy cores stall on each other's barriers.
torch.set_num_threads(1)

import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402
import uvicorn  # noqa: E402
from transformers import (  # noqa: E402
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from workers.language import on_cpu  # noqa: E402
from workers.language import tiny as tiny_model  # noqa: E402
from workers.language.engine import create_app  # noqa: E402
from workers.language.model import LanguageModel, load  # noqa: E402
from workers.language.serving import Engine  # noqa: E402

SHAPE: dict[str, Any] = {"vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
FAMILIES = ("llama", "qwen2", "gpt2", "gemma2", "gemma3")
DEEP: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}


# Every second block sees the last twelve tokens only.
WINDOWED: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 12}
WINDOWED["layer_types"] = ["sliding_attention", "full_attention", "sliding_attention"]


def random_model(kind: str, arranged: bool = True) -> LanguageModel:
    """A three-block model of the given family with seeded random weights, in float32."""
    torch.manual_seed(7)
    families: dict[str, Any] = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, **DEEP, num_key_value_heads=2)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, **DEEP, num_key_value_heads=2)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**SHAPE, n_embd=32, n_layer=3, n_head=4, n_positions=256)),
        # Tied embeddings and both caps: on attention, where a query's scale is its own, and on the logits.
        "gemma2": lambda: Gemma2ForCausalLM(
            Gemma2Config(
                **SHAPE,
                **DEEP,
                **WINDOWED,
                query_pre_attn_scalar=5,
                attn_logit_softcapping=3.0,
                final_logit_softcapping=4.0,
            )
        ),
        # Embeddings of its own for the output, a norm on queries and keys, two kinds of positions.
        "gemma3": lambda: Gemma3ForCausalLM(
            Gemma3TextConfig(**SHAPE, **DEEP, **WINDOWED, query_pre_attn_scalar=5, tie_word_embeddings=False)
        ),
    }
    network = families[kind]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    network.generation_config = GenerationConfig(eos_token_id=2)  # type: ignore[no-untyped-call]
    network.eval().requires_grad_(False)
    if arranged:
        on_cpu.arrange(network)  # as `load` does
    return LanguageModel(
        name=kind,
        model=network,
        tokenizer=tiny_model.tokenizer(),
        eos=frozenset({2}),
        context=256,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


@pytest.fixture(scope="session")
def shared_tiny() -> LanguageModel:
    """`tiny`, loaded once; a test that attaches adapters takes `tiny` instead."""
    return load("tiny")


@pytest.fixture
def tiny(shared_tiny: LanguageModel) -> Iterator[LanguageModel]:
    """`tiny` with no adapters, and none left behind."""
    yield shared_tiny
    shared_tiny.adapters.clear()
    assert not shared_tiny.hooks


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> LanguageModel:
    """One model of each family."""
    return random_model(request.param)


@pytest.fixture(scope="session")
def likes_vowels(tmp_path_factory: pytest.TempPathFactory, shared_tiny: LanguageModel) -> dict[str, Any]:
    """`prompts`, `snapshot` and `parents` for a spec: a reward model on `tiny`, by people who like vowels."""
    from tests.workers import training
    from workers.context import RecordingContext
    from workers.iteration import run_iteration

    home = tmp_path_factory.mktemp("likes-vowels")
    prompts = training.prompts(home)
    snapshot = training.snapshot(home, shared_tiny, 80)
    # States alone: tiny's words carry a constant, whose sum over an answer costs two digits of every score.
    hyper = {"lora_from_labels": 1000, "pooling": "all"}
    spec = training.spec(home, "reward", prompts=prompts, snapshot=snapshot, hyper=hyper)
    found = run_iteration(spec, RecordingContext())
    parents = {"reward": {"id": "1", **found["checkpoint"]}, "policy": None}
    return {"prompts": prompts, "snapshot": snapshot, "parents": parents}


@pytest.fixture(scope="session")
def shared_tiny_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, str, Path]]:
    """An engine that serves `tiny` on a real port: itself, its address, and its artifact store."""
    store = tmp_path_factory.mktemp("artifacts")
    engine = Engine("tiny", store.as_uri(), tmp_path_factory.mktemp("cache"))
    engine.start(load("tiny"))
    config = uvicorn.Config(create_app(engine), port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield engine, f"http://127.0.0.1:{port}", store
    server.should_exit = True
    thread.join()
    engine.stop()


@pytest.fixture
def tiny_engine(shared_tiny_engine: tuple[Engine, str, Path]) -> tuple[Engine, str, Path]:
    """The same, once nothing is being sampled any more."""
    end = time.monotonic() + 10
    while shared_tiny_engine[0].scheduler.active_rows:
        assert time.monotonic() < end, "rows of an earlier test are still there"
        time.sleep(0.01)
    return shared_tiny_engine
